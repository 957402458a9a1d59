"""Measure the shipped models; writes recipes/results/<part>.json.

    python -m recipes.evaluate generators|scorers|duplicates [--problems 1000] [--rows 500]

generators: accuracy of weak and strong on fresh test problems of every task and level, how often each of their steps is
right, and how often the strong model finishes a solution that the weak one began rightly.
scorers: the exported reward models and the likelihood scorer on labelled solutions of fresh test problems. The two
coefficients of the likelihood scorer are fitted on the validation split and written into the judge's folder.
duplicates: how many test problems have a near twin among training problems.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from recipes import labelled, prm
from recipes.labelled import Labelled
from recipes.model import Model, read_model
from recipes.pretrain import TARGET
from recipes.reward import Reward
from recipes.sample import GREEDY, solve
from recipes.score_metrics import Rows, reliability, table, upto_first_error
from recipes.tokenizer import Encoder
from trim.scoring.likelihood import fit_logistic
from trim.stats import wilson
from trim.tasks import FAMILIES
from trim.tasks.generated import FIRST_EVALUATION_SEED, LEVELS, Family
from trim.types import Question, Sampling

RESULTS = Path("recipes/results")
SURE = -3.0  # nats
_USUAL = Sampling()
_DIGITS = re.compile(r"\d+")


def _shipped(name: str) -> Model:
    return read_model(TARGET / name)


def accuracy(family: Family, questions: Sequence[Question], solutions: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Final answers right with their 95% interval, and steps right among those whose predecessors are all right."""
    pairs = list(zip(questions, solutions, strict=True))
    verdicts = [family.right(family.answer("\n".join(steps)), question) for question, steps in pairs]
    labels = [family.step_labels(question, steps) for question, steps in pairs]
    good = sum(map(sum, labels))
    wrong = sum(not all(row) for row in labels)
    low, high = wilson(sum(verdicts), len(questions))
    found: dict[str, Any] = {
        "accuracy": round(sum(verdicts) / len(questions), 4),
        "interval": [round(low, 4), round(high, 4)],
        "step_accuracy_before_first_error": round(good / (good + wrong), 4),
        "steps": round(sum(len(steps) for steps in solutions) / len(solutions), 2),
    }
    return found


def generators(encoder: Encoder, count: int) -> dict[str, Any]:
    """Weak and strong, greedy and sampled, on every task; the strong on prefixes of the weak."""
    found: dict[str, Any] = {"problems": count}
    weak, strong = _shipped("weak"), _shipped("strong")
    for task, family in FAMILIES.items():
        questions = family.problems(FIRST_EVALUATION_SEED, count, "test")
        rows: dict[str, Any] = {}
        drafts: list[tuple[str, ...]] = []
        for name, model in (("weak", weak), ("strong", strong)):
            for mode, sampling in (("greedy", GREEDY), ("sampled", _USUAL)):
                solutions = solve(model, encoder, questions, sampling, seed=1)
                rows[f"{name}_{mode}"] = accuracy(family, questions, solutions)
                print(task, name, mode, rows[f"{name}_{mode}"], flush=True)
                if (name, mode) == ("weak", "sampled"):
                    drafts = solutions
            for level in LEVELS:
                asked = family.problems(FIRST_EVALUATION_SEED, count // 4, "test", level)
                rows[f"{name}_{level}"] = accuracy(family, asked, solve(model, encoder, asked, _USUAL, seed=1))
        rows["strong_after_weak"] = takeover(family, strong, encoder, list(zip(questions, drafts, strict=True)))
        print(task, "strong after right weak steps", rows["strong_after_weak"], flush=True)
        found[task] = rows
    return found


def takeover(
    family: Family, strong: Model, encoder: Encoder, drafts: Sequence[tuple[Question, tuple[str, ...]]]
) -> dict[str, Any]:
    """The strong model finishing solutions whose weak beginning (a random part of it) is right, and finishing its own
    from as far along the same problems: longer beginnings are easier to finish, whoever wrote them.
    """
    rng, asked = Random(0), list[Question]()
    own = solve(strong, encoder, [question for question, _ in drafts], _USUAL, seed=3)
    kept: dict[str, list[tuple[str, ...]]] = {"weak": [], "own": []}
    for (question, steps), mine in zip(drafts, own, strict=True):
        good = min(sum(family.step_labels(question, written)) for written in (steps, mine))
        longest = min(good, len(question.reference_steps) - 1)
        if longest > 0:
            length = rng.randint(1, longest)
            asked.append(question)
            kept["weak"].append(steps[:length])
            kept["own"].append(mine[:length])
    found: dict[str, Any] = {"problems": len(asked)}
    for name, beginnings in kept.items():
        finished = solve(strong, encoder, asked, _USUAL, seed=2, kept=beginnings)
        found[f"after_{name}"] = accuracy(family, asked, finished)["accuracy"]
    return found


def test_solutions(family: Family, encoder: Encoder, count: int) -> dict[str, list[Labelled]]:
    """Labelled solutions of fresh test problems as the exported models write them when they are routed."""
    parts = {"weak": "weak_usual", "strong": "strong_usual", "mixed": "mixed"}
    found = {}
    for i, (name, source) in enumerate(parts.items()):
        asked = family.problems(FIRST_EVALUATION_SEED + 1 + i, count, "test")
        chosen = labelled.SOURCES[source]
        found[name] = labelled.sample(family, chosen, asked, encoder=encoder, seed=10 + i, load=_shipped)
    return found


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


Method = Callable[[list[Labelled]], Rows]


def _likelihood(encoder: Encoder) -> Method:
    """The likelihood scorer on the judge, with its coefficients fitted again."""
    judge = _shipped("judge")
    usual = [name for name, source in labelled.SOURCES.items() if not source.balanced]
    fit = [row for task in FAMILIES for name in usual for row in labelled.read("validation", task, name)]
    values, truth = upto_first_error(minima(judge, encoder, fit), [row.labels for row in fit])
    # Below SURE a step is wrong anyway; leaving the long tail in would flatten the curve where decisions fall.
    slope, intercept = fit_logistic(np.maximum(values, SURE), truth)
    (TARGET / "judge" / "logistic.json").write_text(json.dumps({"a": slope, "b": intercept}) + "\n")

    def score(rows: list[Labelled]) -> Rows:
        return [
            [float(1 / (1 + np.exp(-(slope * low + intercept)))) for low in lows]
            for lows in minima(judge, encoder, rows)
        ]

    return score


def _trained(name: str, encoder: Encoder) -> Method:
    model = read_reward(name)
    return lambda rows: prm.score(model, encoder, rows)


def scorers(encoder: Encoder, count: int) -> dict[str, Any]:
    """All scorers on the same solutions."""
    models = {"likelihood": _likelihood(encoder)} | {
        name: _trained(name, encoder) for name in prm.RUNS if (TARGET / name).exists()
    }
    found: dict[str, Any] = {"problems": count, "reliability": {name: {} for name in models}}
    found |= {name: {} for name in models}
    for task, family in FAMILIES.items():
        sets = test_solutions(family, encoder, count)
        for name, score in models.items():
            scores = {source: score(rows) for source, rows in sets.items()}
            labels = {source: [row.labels for row in rows] for source, rows in sets.items()}
            found[name][task] = {source: table(scores[source], labels[source]) for source in sets}
            pooled = upto_first_error(list(chain(*scores.values())), list(chain(*labels.values())))
            found["reliability"][name][task] = reliability(*pooled)
            print(name, task, json.dumps(found[name][task]), flush=True)
    return found


def read_reward(name: str) -> Reward:
    """An exported process reward model."""
    body = read_model(TARGET / name)
    model = Reward(body)
    model.body = body
    model.trunk_layers = body.shape.layers
    model.score.weight.data = load_file(TARGET / name / "model.safetensors")["score.weight"].float()
    return model.eval()


def duplicates(encoder: Encoder, count: int) -> dict[str, Any]:
    """How many test problems equal a training problem but for their numbers (or letters), or share nine tenths of their
    words with one: among as many training problems as a run reads in its last stage.
    """
    found: dict[str, Any] = {"problems": count, "training_problems": _TRAINING_PROBLEMS}
    for task, family in FAMILIES.items():
        train = [question.text for question in islice(family.stream(22, "train"), _TRAINING_PROBLEMS)]
        masked = {_DIGITS.sub("0", text) for text in train}
        one_number = {variant for text in train for variant in _one_number_out(text)}
        test = [question.text for question in family.problems(FIRST_EVALUATION_SEED, count, "test")]
        assert not set(train) & set(test)
        found[task] = {
            "same_but_for_numbers": sum(_DIGITS.sub("0", text) in masked for text in test) / count,
            "same_but_for_one_number": sum(not one_number.isdisjoint(_one_number_out(text)) for text in test) / count,
        }
        print(task, found[task], flush=True)
    return found


_TRAINING_PROBLEMS = 60_000


def _one_number_out(text: str) -> set[int]:
    """Hashes of the text with each of its numbers masked in turn."""
    return {hash(text[: found.start()] + "0" + text[found.end() :]) for found in _DIGITS.finditer(text)}


def hardware() -> str:
    """What this ran on, in a few words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} thread(s)"


PARTS: dict[str, Callable[[Encoder, int], dict[str, Any]]] = {
    "generators": generators,
    "scorers": scorers,
    "duplicates": duplicates,
}


def main() -> None:
    """Parse the command line and measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=500, help="solutions of each source for the scorers")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.time()
    encoder = Encoder()
    found = PARTS[args.part](encoder, args.rows if args.part == "scorers" else args.problems)
    found |= {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "seconds": round(time.time() - started),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{args.part}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
