"""gsm_symbolic: GSM8K-style word problems with fresh names and numbers, from reasoning-gym's 100 templates.

    "Tom has 3 boxes of 12 pens ..."  ->  "Pens in boxes: 3 * 12 = 36" / "He has 36 + 5 = 41 pens." / "#### 41"

One line of the reference solution is one step. Levels go by the number of steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

from trim.errors import MissingExtra
from trim.tasks.generated import Family, Level
from trim.types import Question

_SUFFIX = " Give the result as your final answer. Do not include units."
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_FINAL = re.compile(r"####\s*[$€£]?\s*(-?[\d,]*\.?\d+)")
# Templates whose reference solutions print float artefacts such as 0.30000000000000004 in a third of cases or more.
_FLOAT_ARTEFACTS = frozenset({46, 52, 66})
_STEPS: dict[Level, range] = {"easy": range(1, 5), "medium": range(5, 6), "hard": range(6, 99)}  # final answer included


def draw(rng: Random, level: Level | None) -> Question | None:
    """A problem from a random template; None if it is not of this level."""
    generators = _templates()
    item = generators[rng.choice(sorted(generators))](rng, 1.0)
    text = item["question"].strip().removesuffix(_SUFFIX.strip()).strip()
    steps = tuple(line.strip() for line in item["metadata"]["answer_cot"].split("\n") if line.strip())
    if level is not None and len(steps) not in _STEPS[level]:
        return None
    return Question(text, item["answer"].replace(",", ""), reference_steps=steps)


def final_answer(text: str) -> str | None:
    """The number after the last `####`, without currency sign and thousands separators; None if there is none."""
    found = _FINAL.findall(text)
    return found[-1].replace(",", "") if found else None


def same_number(answer: str, reference: str) -> bool:
    """Whether two answers are the same number, or the same text where one is not a number."""
    try:
        return abs(float(answer) - float(reference)) < 1e-6
    except ValueError:
        return answer.strip() == reference.strip()


def _same_numbers(step: str, reference: str) -> bool:
    return _numbers(step) == _numbers(reference)


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
        raise MissingExtra("reasoning-gym") from None
    generators = GSMSymbolicDataset(GSMSymbolicDatasetConfig(seed=0, size=1)).generators
    return {number: generators[number] for number in tasks_ok if number not in _FLOAT_ARTEFACTS}


FAMILY = Family("gsm_symbolic", draw, final_answer, same_number, _same_numbers)
