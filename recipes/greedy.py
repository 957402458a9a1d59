"""Agreement of greedy texts between the in-process engine and other engines, for the shipped weak and strong models.

    python -m recipes.greedy transformers
    python -m recipes.greedy vllm weak=http://127.0.0.1:8001/v1 strong=http://127.0.0.1:8002/v1
    python -m recipes.greedy llama-server weak=http://127.0.0.1:8011/v1 strong=http://127.0.0.1:8012/v1

Servers must serve the models under the names `weak` and `strong`. Differences go to recipes/results/greedy.json with
how close the two candidates were where the texts part: with a gap of a rounding error either is right.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch.nn import functional as F

from recipes.evaluate import RESULTS, hardware
from recipes.model import Model, read_model
from recipes.pretrain import TARGET
from recipes.tokenizer import Encoder
from trim.backends.onnx import EmbeddedGenerator
from trim.backends.openai import OpenAIGenerator
from trim.backends.token_counter import TokenCounter
from trim.policies import AlwaysWeak
from trim.prompts import load_template
from trim.protocols import StepGenerator
from trim.routing.router import Router
from trim.tasks import FAMILIES
from trim.tasks.generated import FIRST_EVALUATION_SEED
from trim.types import Question, Role, Sampling

_GREEDY = Sampling(temperature=0.0)
_ROLES = (Role.WEAK, Role.STRONG)


async def texts(generator: StepGenerator, questions: Sequence[Question]) -> list[str]:
    """The solutions that a generator writes on its own."""
    router = Router(generator, generator, None, AlwaysWeak())
    return [trace.text for trace in await asyncio.gather(*map(router.route, questions))]


async def embedded(role: Role, questions: Sequence[Question]) -> list[str]:
    """By the in-process engine."""
    generator = EmbeddedGenerator(role.value, role, _GREEDY)
    try:
        return await texts(generator, questions)
    finally:
        await generator.aclose()


async def served(backend: str, url: str, role: Role, questions: Sequence[Question]) -> list[str]:
    """Greedy texts from a server, through its OpenAI-compatible API."""
    template, counter = load_template(str(TARGET / role.value)), TokenCounter(TARGET / role.value)
    generator = OpenAIGenerator(url, role.value, role, template, sampling=_GREEDY, backend=backend, tokenizer=counter)
    try:
        return await texts(generator, questions)
    finally:
        await generator.aclose()


def transformers(role: Role, questions: Sequence[Question], encoder: Encoder) -> list[str]:
    """By transformers, one question at a time."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(TARGET / role.value, dtype=torch.float32)
    found = []
    for question in questions:
        ids = torch.tensor([encoder.prompt(question.text)])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=512, temperature=None, top_p=None,
            top_k=None,
        )  # fmt: skip
        written = [token for token in out[0, ids.shape[1] :].tolist() if token != encoder.end]
        found.append("\n\n".join(step.strip() for step in encoder.decode(written).split("\n\n") if step.strip()))
    return found


@torch.no_grad()
def parting(model: Model, encoder: Encoder, question: Question, pair: tuple[str, str]) -> dict[str, Any]:
    """Where two texts part, and by how many nats the in-process engine's token was ahead there."""
    ours, theirs = ([*encoder.encode(text), encoder.end] for text in pair)
    at = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
    ids = torch.tensor([encoder.prompt(question.text) + ours[:at]])
    logits = F.linear(model.norm(model.layers(ids)), model.embedding.weight)[0, -1].log_softmax(-1)
    gap = float(logits[ours[at]] - logits[theirs[at]])
    return {"question": question.id, "ours": pair[0], "theirs": pair[1], "nats_ahead": round(gap, 5)}


def main() -> None:
    """Parse the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("transformers", "vllm", "llama-server"))
    parser.add_argument("servers", nargs="*", metavar="ROLE=URL")
    parser.add_argument("--problems", type=int, default=50, help="of each task")
    args = parser.parse_args()
    torch.set_num_threads(1)
    encoder = Encoder(TARGET / "weak" / "tokenizer.json")
    urls = dict(server.split("=", 1) for server in args.servers)
    questions = [q for family in FAMILIES.values() for q in family.problems(FIRST_EVALUATION_SEED, args.problems)]
    found: dict[str, Any] = {"problems": len(questions)}
    for role in _ROLES:
        ours = asyncio.run(embedded(role, questions))
        if args.engine == "transformers":
            theirs = transformers(role, questions, encoder)
        else:
            theirs = asyncio.run(served(args.engine, urls[role.value], role, questions))
        model = read_model(TARGET / role.value)
        different = [
            parting(model, encoder, question, pair)
            for question, pair in zip(questions, zip(ours, theirs, strict=True), strict=True)
            if pair[0] != pair[1]
        ]
        found[role.value] = {"same": len(questions) - len(different), "different": different}
        print(args.engine, role.value, f"{found[role.value]['same']} of {len(questions)} the same", flush=True)
        for row in different:
            print("  ", json.dumps(row), flush=True)
    path = RESULTS / "greedy.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[args.engine] = found | {"date": datetime.now(UTC).date().isoformat(), "hardware": hardware()}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
