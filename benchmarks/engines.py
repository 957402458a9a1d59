"""In-process engines side by side: import time, and tokens a second at 1 and at 64 questions at the same time.

    python -m benchmarks.engines MODEL_FOLDER engine=PYTHON ...

`engine` is ours, transformers, ctranslate2, openvino or ortgenai, PYTHON an interpreter that has it. Every
engine reads the same 64 questions and greedily writes 96 tokens for each, on one thread. CTranslate2, OpenVINO and
onnxruntime-genai convert the folder first; that is not timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TOKENS = 96
Generate = Callable[[list[list[int]]], None]

MODULES = {
    "ours": "onnxruntime",
    "transformers": "transformers",
    "ctranslate2": "ctranslate2",
    "openvino": "openvino_genai",
    "ortgenai": "onnxruntime_genai",
}


def prompts(folder: Path) -> list[list[int]]:
    """64 questions as token ids."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    user, assistant = (tokenizer.encode(token).ids[0] for token in ("<|user|>", "<|assistant|>"))
    found: list[list[int]] = []
    for i in range(64):
        text = f"Tom has {i + 3} boxes of {2 * i + 5} pens and gives {i + 1} boxes to each of his 2 friends. " * 2
        found.append([user, *tokenizer.encode(text + "How many pens are left?").ids, assistant])
    return found


def ours(folder: Path) -> Generate:
    """TRIM's engine on ONNX Runtime."""
    from trim.models.engine import Array, Engine, Job

    engine = Engine(folder)

    def generate(batch: list[list[int]]) -> None:
        def writer() -> Callable[[Array], int | None]:
            count = 0

            def step(logits: Array) -> int | None:
                nonlocal count
                count += 1
                return int(logits.argmax()) if count <= TOKENS else None

            return step

        jobs = [Job(engine.cache(), [ids], [[len(ids) - 1]], writer()) for ids in batch]
        for future in [engine.submit(job) for job in jobs]:
            future.result()

    return generate


def transformers(folder: Path) -> Generate:
    """Hugging Face transformers, float32, left padding."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def generate(batch: list[list[int]]) -> None:
        longest = max(map(len, batch))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in batch])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in batch])
        with torch.no_grad():
            model.generate(
                ids, attention_mask=mask, do_sample=False, min_new_tokens=TOKENS, max_new_tokens=TOKENS, pad_token_id=0
            )

    return generate


def ctranslate2(folder: Path) -> Generate:
    """CTranslate2, float32."""
    import ctranslate2 as ct2

    target = tempfile.mkdtemp()
    ct2.converters.TransformersConverter(str(folder)).convert(target, force=True)
    model = ct2.Generator(target, intra_threads=1, inter_threads=1, compute_type="float32")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def generate(batch: list[list[int]]) -> None:
        tokens = [[tokenizer.id_to_token(i) for i in row] for row in batch]
        model.generate_batch(
            tokens,
            max_length=TOKENS,
            min_length=TOKENS,
            sampling_topk=1,
            include_prompt_in_result=False,
            max_batch_size=64,
        )

    return generate


def openvino(folder: Path) -> Generate:
    """OpenVINO GenAI's continuous batching."""
    import numpy as np
    import openvino as ov
    import openvino_genai as genai
    from optimum.intel import OVModelForCausalLM

    target = tempfile.mkdtemp()
    OVModelForCausalLM.from_pretrained(folder, export=True, compile=False).save_pretrained(target)
    settings = genai.GenerationConfig()
    settings.max_new_tokens = settings.min_new_tokens = TOKENS
    settings.ignore_eos = True
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 1
    pipe = genai.ContinuousBatchingPipeline(
        target, scheduler, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    )

    def generate(batch: list[list[int]]) -> None:
        pipe.generate([ov.Tensor(np.array([row], np.int64)) for row in batch], [settings] * len(batch))

    return generate


def ortgenai(folder: Path) -> Generate:
    """onnxruntime-genai, float32, from its own model builder."""
    import onnxruntime_genai as og

    target = tempfile.mkdtemp()
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(folder), "-o", target]
    subprocess.run([*builder, "-p", "fp32", "-e", "cpu", "-c", target + "/cache"], check=True, capture_output=True)
    model = og.Model(target)

    def generate(batch: list[list[int]]) -> None:
        longest = max(map(len, batch))
        parameters = og.GeneratorParams(model)
        total = longest + TOKENS
        parameters.set_search_options(batch_size=len(batch), max_length=total, min_length=total, do_sample=False)
        generator = og.Generator(model, parameters)
        generator.append_tokens([[0] * (longest - len(row)) + row for row in batch])
        while not generator.is_done():
            generator.generate_next_token()

    return generate


def measure(engine: str, folder: Path) -> None:
    """Print one engine's figures as JSON."""
    started = time.perf_counter()
    __import__(MODULES[engine])
    row: dict[str, object] = {"engine": engine, "import_seconds": round(time.perf_counter() - started, 2)}
    generate = globals()[engine](folder)
    ids = prompts(folder)
    generate(ids[:2])
    for count in (1, 64):
        best = 0.0
        for _ in range(3):
            started = time.process_time()
            generate(ids[:count])
            best = max(best, count * TOKENS / (time.process_time() - started))
        row[f"tokens_per_cpu_second_at_{count}"] = round(best)
    print(json.dumps(row), flush=True)


def main() -> None:
    """Measure every engine in an interpreter of its own."""
    if sys.argv[1] == "--one":
        measure(sys.argv[2], Path(sys.argv[3]))
        return
    for pair in sys.argv[2:]:
        engine, python = pair.split("=")
        done = subprocess.run(
            [python, "-W", "ignore", __file__, "--one", engine, sys.argv[1]],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"engine"')]
        failure = done.stderr.strip().splitlines()[-1:] or ["no output"]
        print(lines[-1] if lines else json.dumps({"engine": engine, "failed": failure[0][:300]}), flush=True)


if __name__ == "__main__":
    main()
