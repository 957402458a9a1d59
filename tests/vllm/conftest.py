"""Three real vLLM servers on the CPU: the shipped weak and strong models and the process reward model.

`make test-vllm` installs vLLM and runs this folder; a plain `pytest` leaves it out. TRIM_VLLM_PYTHON names another
interpreter that has vLLM.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PYTHON = Path(os.environ.get("TRIM_VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
CONTEXT = 1024
_START_LIMIT = 420.0  # seconds for all three; some 60 on two idle cores
_COMMON = ["--max-model-len", str(CONTEXT), "--dtype", "float32", "--enforce-eager", "--host", "127.0.0.1"]
# vLLM 0.32 dies on a CPU ("CPU Generator does not use offset") when it cuts the prompt of a request that has a seed.
_WHOLE_PROMPTS = ["--no-enable-chunked-prefill"]
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_TARGET_DEVICE": "cpu",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
}


def model_folder(name: str) -> Path:
    """The folder of a shipped model; TRIM_VLLM_PRM and the like name another."""
    return Path(os.environ.get(f"TRIM_VLLM_{name.upper()}", ROOT / "src" / "trim" / "embedded" / name))


@dataclass
class VllmServer:
    """A server process. `base_url` ends in /v1."""

    name: str
    folder: Path
    base_url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """Kill the server with its workers, which run in its process group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])


def start(name: str, folder: Path, log: Path, *more: str) -> VllmServer:
    """Start a server on a free port; returns at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    module = "vllm.entrypoints.openai.api_server"
    command = [str(PYTHON), "-m", module, "--model", str(folder), "--served-model-name", name, "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *_COMMON, *more],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | _ENVIRONMENT,
            start_new_session=True,
        )
    return VllmServer(name, folder, f"http://127.0.0.1:{port}/v1", process, log)


def pooling_options(folder: Path) -> list[str]:
    """What makes vLLM give one score per step mark."""
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    mark = next(token["id"] for token in added if token["content"] == "<extra_0>")
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    if architecture.endswith("ForProcessRewardModel"):
        return ["--runner", "pooling", "--pooler-config", json.dumps({"step_tag_id": mark, "returned_token_ids": None})]
    pooler = {"task": "token_classify", "tok_pooling_type": "STEP", "step_tag_id": mark}
    return ["--runner", "pooling", "--convert", "classify", "--pooler-config", json.dumps(pooler)]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, VllmServer]]:
    """weak, strong and prm, up and healthy; killed at the end."""
    if not PYTHON.is_file():
        pytest.fail(f"there is no vLLM at {PYTHON}: run tests/vllm/setup.sh, or make test-vllm")
    logs = tmp_path_factory.mktemp("vllm")
    running: dict[str, VllmServer] = {}
    try:
        for name in ("weak", "strong", "prm"):
            folder = model_folder(name)
            more = pooling_options(folder) if name == "prm" else _WHOLE_PROMPTS
            running[name] = start(name, folder, logs / f"{name}.log", *more)
        limit = time.monotonic() + _START_LIMIT
        while not all(server.healthy for server in running.values()):
            for server in running.values():
                if server.process.poll() is not None:
                    pytest.fail(f"the {server.name} server ended:\n{server.tail()}")
                if time.monotonic() > limit:
                    pytest.fail(f"the servers are not up after {_START_LIMIT:.0f} s; {server.name}:\n{server.tail()}")
            time.sleep(1)
        yield running
    finally:
        for server in running.values():
            server.kill()
