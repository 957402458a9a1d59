"""Measure the exported models of the box; writes recipes/results/<part>.json.

    python -m recipes.evaluate generators|scorers [--problems 1000] [--rows 500]

generators: accuracy of weak and strong on fresh test problems, how often each of their steps is right, and how often
the strong model finishes a solution that the weak one began rightly.
scorers: the process reward model and the likelihood scorer on labelled solutions of fresh test problems. The two
coefficients of the likelihood scorer are fitted on the validation split and written into the judge's folder.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from recipes import labelled, prm
from recipes.figures import Rows, table, upto_first_error
from recipes.labelled import Labelled
from recipes.model import Model, read_model
from recipes.pretrain import TARGET
from recipes.sample import GREEDY, solve
from recipes.tokenizer import Encoder
from trim.evals.metrics import wilson
from trim.models.likelihood import fit_logistic
from trim.tasks import gsm_symbolic
from trim.types import Question, Sampling

RESULTS = Path("recipes/results")
SURE = -3.0  # nats
_USUAL = Sampling()


def _right(question: Question, steps: tuple[str, ...]) -> bool:
    return gsm_symbolic.grade(gsm_symbolic.final_answer("\n".join(steps)), question.reference or "")


def accuracy(questions: Sequence[Question], solutions: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Final answers right with their 95% interval, and steps right among those whose predecessors are all right."""
    right = sum(map(_right, questions, solutions))
    labels = [gsm_symbolic.step_labels(q, steps) for q, steps in zip(questions, solutions, strict=True)]
    good = sum(map(sum, labels))
    wrong = sum(not all(row) for row in labels)
    low, high = wilson(right, len(questions))
    return {
        "accuracy": round(right / len(questions), 4),
        "interval": [round(low, 4), round(high, 4)],
        "step_accuracy_before_first_error": round(good / (good + wrong), 4),
        "all_steps_right": round(1 - wrong / len(questions), 4),
    }


def generators(encoder: Encoder, count: int) -> dict[str, Any]:
    """Weak and strong, greedy and sampled; the strong on prefixes of the weak."""
    questions = gsm_symbolic.problems(gsm_symbolic.FIRST_EVALUATION_SEED, count, "test")
    found: dict[str, Any] = {"problems": count}
    models = {name: read_model(TARGET / name) for name in ("weak", "strong")}
    drafts: list[tuple[str, ...]] = []
    for name, model in models.items():
        for mode, sampling in (("greedy", GREEDY), ("sampled", _USUAL)):
            solutions = solve(model, encoder, questions, sampling, seed=1)
            found[f"{name}_{mode}"] = accuracy(questions, solutions)
            print(name, mode, found[f"{name}_{mode}"], flush=True)
            if (name, mode) == ("weak", "sampled"):
                drafts = solutions
    found["strong_after_weak"] = takeover(models["strong"], encoder, questions, drafts)
    print("strong after right weak steps", found["strong_after_weak"], flush=True)
    return found


def takeover(
    strong: Model, encoder: Encoder, questions: Sequence[Question], drafts: Sequence[tuple[str, ...]]
) -> dict[str, Any]:
    """The strong model finishing solutions whose weak beginning (a random part of it) is right, and its own ones of
    the same problems.
    """
    rng, kept, asked = Random(0), list[tuple[str, ...]](), list[Question]()
    for question, steps in zip(questions, drafts, strict=True):
        good = sum(gsm_symbolic.step_labels(question, steps))
        longest = min(good, len(question.reference_steps) - 1)
        if longest > 0:
            asked.append(question)
            kept.append(steps[: rng.randint(1, longest)])
    continued = accuracy(asked, solve(strong, encoder, asked, _USUAL, seed=2, kept=kept))
    alone = accuracy(asked, solve(strong, encoder, asked, _USUAL, seed=3))
    return {"problems": len(asked), "continuing": continued["accuracy"], "alone": alone["accuracy"]}


@torch.no_grad()
def minima(judge: Model, encoder: Encoder, examples: Sequence[Labelled]) -> list[tuple[float, ...]]:
    """Lowest of the judge's token log-probabilities (nats) in each step; separators are left out."""
    found: dict[int, tuple[float, ...]] = {}
    rows = [prm.encode(encoder, example) for example in examples]
    for part in prm.batches(rows, 8192):
        ids = prm.collate(part, torch.device("cpu")).ids
        plain = ids.masked_fill(ids == encoder.mark, encoder.blank)
        logits = F.linear(judge.norm(judge.layers(plain)), judge.embedding.weight)
        chosen = logits[:, :-1].log_softmax(-1).gather(2, plain[:, 1:, None])[..., 0]
        for i, row in enumerate(part):
            begins = [row.start, *(mark + 1 for mark in row.marks[:-1])]
            steps = [chosen[i, a - 1 : b - 1].tolist() for a, b in zip(begins, row.marks, strict=True)]
            found[id(row)] = tuple(min(step, default=0.0) for step in steps)
    return [found[id(row)] for row in rows]


def test_solutions(encoder: Encoder, count: int) -> dict[str, list[Labelled]]:
    """Labelled solutions of fresh test problems as the exported models write them when they are routed."""
    parts = {"weak": "weak_usual", "strong": "strong_usual", "mixed": "mixed"}
    found = {}
    for i, (name, source) in enumerate(parts.items()):
        questions = gsm_symbolic.problems(gsm_symbolic.FIRST_EVALUATION_SEED + 1 + i, count, "test")
        found[name] = labelled.sample(labelled.SOURCES[source], questions, encoder, seed=10 + i)
    return found


def scorers(encoder: Encoder, count: int) -> dict[str, Any]:
    """Both scorers on the same solutions."""
    judge = read_model(TARGET / "judge")
    fit = [
        row for path in (labelled.ROOT / "validation").glob("*.jsonl") for row in labelled.read("validation", path.stem)
    ]
    values, truth = upto_first_error(minima(judge, encoder, fit), [row.labels for row in fit])
    # Below SURE a step is wrong anyway; leaving the long tail in would flatten the curve where decisions fall.
    slope, intercept = fit_logistic(np.maximum(values, SURE), truth)
    (TARGET / "judge" / "logistic.json").write_text(json.dumps({"a": slope, "b": intercept}) + "\n")
    model = read_reward(encoder)
    methods: dict[str, Callable[[list[Labelled]], Rows]] = {
        "prm": lambda rows: prm.score(model, encoder, rows),
        "likelihood": lambda rows: [
            [float(1 / (1 + np.exp(-(slope * low + intercept)))) for low in lows]
            for lows in minima(judge, encoder, rows)
        ],
    }
    sets = test_solutions(encoder, count)
    found: dict[str, Any] = {"problems": count, "logistic": {"a": slope, "b": intercept}}
    for method, score in methods.items():
        found[method] = {name: table(score(rows), [row.labels for row in rows]) for name, rows in sets.items()}
        print(method, json.dumps(found[method], indent=1), flush=True)
    return found


def read_reward(encoder: Encoder) -> Any:
    """The exported process reward model."""
    model = prm.start(encoder)
    weights = load_file(TARGET / "prm" / "model.safetensors")
    model.body = read_model(TARGET / "prm")
    model.score.weight.data.copy_(weights["score.weight"])
    return model.eval()


def hardware() -> str:
    """What this ran on, in a few words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} thread(s)"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("generators", "scorers"))
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=500, help="solutions of each source for the scorers")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.time()
    encoder = Encoder()
    found = generators(encoder, args.problems) if args.part == "generators" else scorers(encoder, args.rows)
    found |= {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "seconds": round(time.time() - started),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{args.part}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
