"""gsm_symbolic: GSM8K-style word problems with fresh names and numbers, from reasoning-gym's 100 templates.

    "Tom has 3 boxes of 12 pens ..."  ->  "Pens in boxes: 3 * 12 = 36" / "He has 36 + 5 = 41 pens." / "#### 41"

Problems are endless and each comes with a step-by-step solution, one step a line. Train, validation and test problems
are disjoint BY TEXT for every seed: a hash of the question text says which split it belongs to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from random import Random
from typing import Any, Literal

from trim.errors import MissingExtra
from trim.types import Question

Split = Literal["train", "validation", "test"]

FIRST_EVALUATION_SEED = 900_000
"""Seeds from here on are never used in making the shipped models."""

_SUFFIX = " Give the result as your final answer. Do not include units."
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_FINAL = re.compile(r"####\s*[$€£]?\s*(-?[\d,]*\.?\d+)")
# Templates whose reference solutions print float artefacts such as 0.30000000000000004 in a third of cases or more.
_FLOAT_ARTEFACTS = frozenset({46, 52, 66})


def stream(seed: int, split: Split) -> Iterator[Question]:
    """Endless problems of one split; the same seed gives the same sequence. Texts may repeat."""
    rng = Random(seed)
    generators = _templates()
    names = sorted(generators)
    index = 0
    while True:
        item = generators[rng.choice(names)](rng, 1.0)
        text = item["question"].strip().removesuffix(_SUFFIX.strip()).strip()
        steps = tuple(line.strip() for line in item["metadata"]["answer_cot"].split("\n") if line.strip())
        if split_of(text) != split:
            continue
        yield Question(text, item["answer"].replace(",", ""), f"gsm_symbolic/{split}/{seed}/{index}", steps)
        index += 1


def problems(seed: int, count: int, split: Split = "test") -> list[Question]:
    """`count` problems with distinct texts; a smaller count gives a prefix of a larger one."""

    def distinct() -> Iterator[Question]:
        seen: set[str] = set()
        for question in stream(seed, split):
            if question.text not in seen:
                seen.add(question.text)
                yield question

    return list(islice(distinct(), count))


def split_of(text: str) -> Split:
    """Which split a question text belongs to: 10/16 train, 2/16 validation, 4/16 test, by its hash."""
    bucket = hashlib.sha256(text.encode()).digest()[0] % 16
    return "train" if bucket < 10 else "validation" if bucket < 12 else "test"


def final_answer(text: str) -> str | None:
    """The number after the last `####`, without currency sign and thousands separators; None if there is none."""
    found = _FINAL.findall(text)
    return found[-1].replace(",", "") if found else None


def grade(answer: str | None, reference: str) -> bool:
    """Whether an extracted answer is the reference, as numbers."""
    if answer is None:
        return False
    try:
        return abs(float(answer) - float(reference)) < 1e-6
    except ValueError:
        return answer.strip() == reference.strip()


def step_labels(question: Question, steps: Sequence[str]) -> tuple[bool, ...]:
    """Which steps are right, by rule: the step's numbers are the reference step's, and every earlier step is right.

    A final answer before the reference solution is complete is wrong.
    """
    reference = question.reference_steps
    labels: list[bool] = []
    right = True
    for index, step in enumerate(steps):
        right = right and index < len(reference) and _numbers(step) == _numbers(reference[index])
        if right and index + 1 < len(reference) and final_answer(step) is not None:
            right = False
        labels.append(right)
    return tuple(labels)


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in _NUMBER.findall(text)]


@cache
def _templates() -> dict[int, Callable[[Random, float], dict[str, Any]]]:
    """The templates that reasoning-gym itself calls sound (85 of 100) less those with float artefacts, by number."""
    try:
        from reasoning_gym.arithmetic.gsm_symbolic.gsm_symbolic import (  # imports in 6 s: only when needed
            GSMSymbolicDataset,
            GSMSymbolicDatasetConfig,
            tasks_ok,
        )
    except ImportError:
        raise MissingExtra("reasoning-gym", "tasks") from None
    generators = GSMSymbolicDataset(GSMSymbolicDatasetConfig(seed=0, size=1)).generators
    return {number: generators[number] for number in tasks_ok if number not in _FLOAT_ARTEFACTS}
