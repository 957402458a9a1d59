"""arithmetic_chain: long arithmetic from reasoning-gym, one operation a step, for long horizons.

    "Calculate 12 + 5 * 7 - 9."  ->  "5 * 7 = 35" / "12 + 35 = 47" / "47 - 9 = 38" / "#### 38"

Chain sums, chain sums of decimals, and sums of products, 8 to 16 operations. Steps come from evaluating the expression
from left to right, each product just before it is needed. Levels differ in operations and in the size of the numbers.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any, Literal

from trim.errors import MissingExtra
from trim.tasks.final_answers import after_mark
from trim.tasks.generated import LEVELS, Family, Level, same_words
from trim.tasks.gsm_symbolic import same_number
from trim.types import Question

Kind = Literal["sum", "decimal", "product"]
_KINDS: tuple[Kind, ...] = ("sum", "decimal", "product")
_LARGEST = 9999  # of every intermediate result
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[-+*]")
_OPERATIONS: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


@dataclass(frozen=True)
class _Size:
    """Ranges of operations and digits of a level; numbers in products have fewer digits, as results grow fast."""

    operations: tuple[int, int]
    digits: tuple[int, int]
    product_digits: int


_SIZES: dict[Level, _Size] = {
    "easy": _Size((8, 10), (1, 2), 1),
    "medium": _Size((10, 13), (2, 2), 1),
    "hard": _Size((13, 16), (2, 3), 2),
}


def draw(rng: Random, level: Level | None) -> Question | None:
    """A problem of a random kind; None where a number would grow too large."""
    data = _dataset(rng.choice(_KINDS), level or rng.choice(LEVELS))
    item = data[rng.randrange(2**60)]
    steps = evaluate(item["metadata"]["expression"])
    if any(abs(Decimal(step.rpartition("= ")[2])) > _LARGEST for step in steps):
        return None
    result = steps[-1].rpartition("= ")[2]
    return Question(item["question"], result, reference_steps=(*steps, f"#### {result}"))


def evaluate(expression: str) -> tuple[str, ...]:
    """The operations of a sum of products in the order in which they are done, such as `5 * 7 = 35`."""
    tokens = _TOKEN.findall(expression)
    steps: list[str] = []

    def apply(left: Decimal, sign: str, right: Decimal) -> Decimal:
        value = _OPERATIONS[sign](left, right)
        steps.append(f"{left} {sign} {right} = {value}")
        return value

    def product(at: int) -> Decimal:
        value = Decimal(tokens[at])
        while at + 2 < len(tokens) and tokens[at + 1] == "*":
            value = apply(value, "*", Decimal(tokens[at + 2]))
            at += 2
        return value

    total = product(0)
    for at, token in enumerate(tokens):
        if token in ("+", "-"):
            total = apply(total, token, product(at + 1))
    return tuple(steps)


@cache
def _dataset(kind: Kind, level: Level) -> Any:
    try:
        from reasoning_gym import arithmetic as gym  # imports in 6 s: only when needed
    except ImportError:
        raise MissingExtra("reasoning-gym") from None
    size = _SIZES[level]
    terms = {"min_terms": size.operations[0] + 1, "max_terms": size.operations[1] + 1, "seed": 0, "size": 1}
    low, high = size.digits
    if kind == "sum":
        return gym.ChainSumDataset(gym.ChainSumConfig(min_digits=low, max_digits=high, **terms))
    if kind == "decimal":
        digits = {"min_digits": 1, "max_digits": min(high, 2), "min_decimal_places": 1, "max_decimal_places": 1}
        return gym.DecimalChainSumDataset(gym.DecimalChainSumConfig(**digits, **terms))
    return gym.BasicArithmeticDataset(
        gym.BasicArithmeticDatasetConfig(
            min_digits=1,
            max_digits=size.product_digits,
            operators=["+", "-", "+", "-", "*"],
            allow_parentheses=False,
            **terms,
        )
    )


FAMILY = Family("arithmetic_chain", draw, after_mark, same_number, same_words)
