"""In-process engines side by side: install size, import time, tokens per second at 1 and at 64 concurrent questions.

    python -m benchmarks.engines [--model FOLDER] [--environments .venv-engines] [ENGINE ...]

Makes one virtual environment per engine, so needs a package index and 5 GB of disk, and 5 minutes the first time. Every
engine reads the same 64 questions and greedily writes 96 tokens for each (the end token forbidden), on one thread, in
float32; `same_text` is the share of texts that are those of the first engine. CTranslate2,
OpenVINO and onnxruntime-genai convert the folder first, with tools (torch, transformers) from another environment:
neither counted nor timed. Tokens are counted per second of CPU time, so that other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOKENS = 96
REPEATS = 3
MEGABYTE = 1_000_000
Rows = list[list[int]]
Generate = Callable[[Rows], Rows]


@dataclass(frozen=True)
class Candidate:
    """An engine: what it needs to run, what it needs to convert a model, and its import.

    `unwanted` comes along with the converter, built for another torch, and breaks its import.
    """

    packages: tuple[str, ...]
    imports: str
    converter: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()


_TORCH = ("torch==2.13.0", "transformers")
_ORTGENAI_ROWS = 32  # it refuses larger batches
CANDIDATES = {
    "transformers": Candidate((*_TORCH, "tokenizers"), "import torch; from transformers import AutoModelForCausalLM"),
    "ours": Candidate(("onnxruntime", "numpy", "safetensors", "tokenizers"), "import onnxruntime"),
    "ortgenai": Candidate(
        ("onnxruntime-genai", "numpy", "tokenizers"),
        "import onnxruntime_genai",
        (*_TORCH, "onnxruntime-genai", "onnx", "onnx-ir"),
    ),
    "ctranslate2": Candidate(("ctranslate2", "tokenizers"), "import ctranslate2", (*_TORCH, "ctranslate2")),
    "openvino": Candidate(
        ("openvino-genai", "numpy", "tokenizers"),
        "import openvino_genai",
        (*_TORCH, "optimum-intel[openvino]>=2.2"),
        unwanted=("torchvision",),
    ),
}


# Converting, in the environment with the tools --------------------------------------------------------------------


def convert_ortgenai(folder: Path, target: Path) -> None:
    """The package's own model builder."""
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(folder), "-o", str(target)]
    subprocess.run([*builder, "-p", "fp32", "-e", "cpu", "-c", str(target / "cache")], check=True)


def convert_ctranslate2(folder: Path, target: Path) -> None:
    """The package's own converter."""
    import ctranslate2

    converter = ctranslate2.converters.TransformersConverter(str(folder), copy_files=["tokenizer.json"])
    converter.convert(str(target), quantization="float32", force=True)


def convert_openvino(folder: Path, target: Path) -> None:
    """Convert by optimum-intel, in the environment with the tools."""
    from optimum.intel import OVModelForCausalLM

    OVModelForCausalLM.from_pretrained(folder, export=True, compile=False).save_pretrained(target)


# Running, in the engine's environment -----------------------------------------------------------------------------


def run_ours(folder: Path) -> Generate:
    """TRIM's engine on ONNX Runtime; reads the folder as it is."""
    from trim.backends.onnx_engine import Array, Engine, Job

    engine = Engine(folder)
    end = json.loads((folder / "config.json").read_text())["eos_token_id"]

    def generate(batch: Rows) -> Rows:
        written: Rows = [[] for _ in batch]

        def writer(into: list[int]) -> Callable[[Array], int | None]:
            def step(logits: Array) -> int | None:
                if len(into) == TOKENS:
                    return None
                logits[end] = -1e30
                into.append(int(logits.argmax()))
                return into[-1]

            return step

        pairs = zip(batch, written, strict=True)
        jobs = [Job(engine.cache(), [ids], [[len(ids) - 1]], writer(into)) for ids, into in pairs]
        for future in [engine.submit(job) for job in jobs]:
            future.result()
        return written

    return generate


def run_transformers(folder: Path) -> Generate:
    """Hugging Face transformers, left padding; reads the folder as it is."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)  # already in evaluation mode
    limits = {"do_sample": False, "min_new_tokens": TOKENS, "max_new_tokens": TOKENS, "pad_token_id": 0}

    def generate(batch: Rows) -> Rows:
        longest = max(map(len, batch))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in batch])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in batch])
        with torch.no_grad():
            written = model.generate(ids, attention_mask=mask, **limits)
        return [row[longest:] for row in written.tolist()]

    return generate


def run_ctranslate2(folder: Path) -> Generate:
    """Greedy generation by CTranslate2's Generator."""
    import ctranslate2
    from tokenizers import Tokenizer

    model = ctranslate2.Generator(str(folder), intra_threads=1, inter_threads=1, compute_type="float32")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    limits = {"max_length": TOKENS, "min_length": TOKENS, "sampling_topk": 1, "max_batch_size": 64}

    def generate(batch: Rows) -> Rows:
        tokens = [[tokenizer.id_to_token(i) for i in row] for row in batch]
        found = model.generate_batch(tokens, include_prompt_in_result=False, **limits)
        return [result.sequences_ids[0] for result in found]

    return generate


def run_openvino(folder: Path) -> Generate:
    """OpenVINO GenAI's continuous batching."""
    import numpy as np
    import openvino
    import openvino_genai

    settings = openvino_genai.GenerationConfig()
    settings.max_new_tokens = settings.min_new_tokens = TOKENS
    settings.ignore_eos = True
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = 1
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    pipeline = openvino_genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU", options)

    def generate(batch: Rows) -> Rows:
        inputs = [openvino.Tensor(np.array([row], np.int64)) for row in batch]
        return [result.m_generation_ids[0] for result in pipeline.generate(inputs, [settings] * len(batch))]

    return generate


def run_ortgenai(folder: Path) -> Generate:
    """Greedy generation by onnxruntime-genai, prompts padded on the left."""
    import numpy as np
    import onnxruntime_genai

    settings = folder / "genai_config.json"
    config = json.loads(settings.read_text())
    config["model"]["decoder"]["session_options"] |= {"intra_op_num_threads": 1}
    settings.write_text(json.dumps(config))
    model = onnxruntime_genai.Model(str(folder))

    def generate(batch: Rows) -> Rows:
        if len(batch) > _ORTGENAI_ROWS:
            return generate(batch[:_ORTGENAI_ROWS]) + generate(batch[_ORTGENAI_ROWS:])
        longest = max(map(len, batch))
        total = longest + TOKENS
        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(batch_size=len(batch), max_length=total, min_length=total, do_sample=False)
        generator = onnxruntime_genai.Generator(model, parameters)
        padded = [[0] * (longest - len(row)) + row for row in batch]
        generator.append_tokens(np.array(padded, np.int32).ravel() if len(batch) == 1 else np.array(padded, np.int32))
        while not generator.is_done():
            generator.generate_next_token()
        return [generator.get_sequence(i)[longest:].tolist() for i in range(len(batch))]

    return generate


def prompts(folder: Path) -> Rows:
    """64 questions as token ids."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    user, assistant = (tokenizer.encode(token).ids[0] for token in ("<|user|>", "<|assistant|>"))
    found: Rows = []
    for i in range(64):
        text = f"Tom has {i + 3} boxes of {2 * i + 5} pens and gives {i + 1} boxes to each of his 2 friends. " * 2
        found.append([user, *tokenizer.encode(text + "How many pens are left?").ids, assistant])
    return found


def measure(engine: str, folder: Path, original: Path) -> None:
    """Print one engine's speeds and what it wrote, as JSON."""
    generate: Generate = globals()[f"run_{engine}"](folder)
    ids = prompts(original)
    generate(ids[:2])
    row: dict[str, object] = {}
    written: Rows = []
    for count in (1, 64):
        best = 0.0
        for _ in range(REPEATS):
            started = time.process_time()
            written = generate(ids[:count])
            best = max(best, count * TOKENS / (time.process_time() - started))
        row[f"tokens_per_cpu_second_at_{count}"] = round(best)
    print(json.dumps({"engine": engine, "row": row, "written": written}), flush=True)


# Environments -----------------------------------------------------------------------------------------------------


class Failed(Exception):
    """An engine could not be installed, could not convert the model, or could not run it."""


def call(command: list[str]) -> str:
    """Run a command and return its output."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise Failed(lines[-1][:300])
    return done.stdout


def environment(folder: Path, packages: tuple[str, ...], unwanted: tuple[str, ...] = ()) -> Path:
    """The interpreter of a virtual environment with these packages, made if it is not there."""
    python = folder / "bin" / "python"
    stamp = folder / ".complete"
    if not stamp.exists() or stamp.read_text() != " ".join(packages):
        call([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        call([*pip, "install", *packages])
        if unwanted:
            call([*pip, "uninstall", "--yes", *unwanted])
        stamp.write_text(" ".join(packages))
    return python


def size(folder: Path) -> int:
    """Megabytes that were installed, without pip and setuptools."""
    (packages,) = folder.glob("lib/python*/site-packages")
    tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    files = (f for f in packages.rglob("*") if f.is_file() and not f.relative_to(packages).parts[0].startswith(tools))
    return round(sum(file.stat().st_size for file in files if file.suffix != ".pyc") / MEGABYTE)


def try_engine(engine: str, model: Path, folder: Path) -> tuple[dict[str, object], Rows]:
    """Install, convert and measure one engine: its row, and what it wrote."""
    candidate = CANDIDATES[engine]
    python = environment(folder / engine, candidate.packages)
    row: dict[str, object] = {"engine": engine, "megabytes": size(folder / engine)}
    timed = f"import time; t = time.perf_counter(); {candidate.imports}; print(time.perf_counter() - t)"
    times = [float(call([str(python), "-W", "ignore", "-c", timed])) for _ in range(REPEATS)]
    row["import_seconds"] = round(min(times), 2)
    this, target = str(Path(__file__).resolve()), model
    try:
        if candidate.converter:
            tools = environment(folder / f"{engine}-tools", candidate.converter, candidate.unwanted)
            target = folder / f"{engine}-model"
            call([str(tools), "-W", "ignore", this, "--convert", engine, str(model), str(target)])
        output = call([str(python), "-W", "ignore", this, "--measure", engine, str(target), str(model)])
    except Failed as failure:
        return row | {"failed": str(failure)}, []
    found = json.loads(next(line for line in output.splitlines() if line.startswith('{"engine"')))
    return row | found["row"], found["written"]


def compare(engines: list[str], model: Path, folder: Path) -> None:
    """Print one line per engine; texts are compared with those of the first."""
    reference: Rows = []
    for engine in engines:
        try:
            row, written = try_engine(engine, model, folder)
        except Failed as failure:
            row, written = {"engine": engine, "failed": str(failure)}, []
        reference = reference or written
        if written:
            row["same_text"] = round(sum(map(list.__eq__, reference, written)) / len(reference), 2)
        print(json.dumps(row), flush=True)


def main() -> None:
    """Measure every engine in an environment of its own."""
    if sys.argv[1:2] == ["--convert"]:
        globals()[f"convert_{sys.argv[2]}"](Path(sys.argv[3]), Path(sys.argv[4]))
        return
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(CANDIDATES)} (default: all)")
    parser.add_argument("--model", type=Path, default=ROOT / "src" / "trim" / "embedded" / "strong")
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-engines")
    args = parser.parse_args()
    args.environments.mkdir(parents=True, exist_ok=True)
    compare(args.engines or list(CANDIDATES), args.model.resolve(), args.environments.resolve())


if __name__ == "__main__":
    main()
