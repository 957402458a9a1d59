"""string_rewriting: reasoning-gym's string manipulation, a task outside mathematics; every step is a state.

    "Rewrite the string by the first rule that fits, until none fits.
    1. c a .. -> b b .. c
    2. .. c c -> a .. b
    String: a a c c"       ->  "a a a b" / "#### a a a b"

The rules and strings are reasoning-gym's; the notation is ours: `..` is any letters (or none), `?` one letter, and
letters are separated by spaces so that each is one token. A rule that matches in several places applies to the first.
Left out: two rules that count letters, problems with few steps, and those that never end. Levels differ in rules,
length and steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from trim.errors import MissingExtra
from trim.tasks.final_answers import after_mark
from trim.tasks.generated import LEVELS, Family, Level, same_words
from trim.types import Question

# reasoning-gym's rules, in its order.
_NOTATION = (
    "a b .. -> c a ..",
    ".. a c -> .. c b",
    "b c .. -> .. a a",
    ".. b b -> ..",
    "c b .. ? -> a a ..",
    "c a .. -> b b .. c",
    ".. c c -> a .. b",
    "a a .. -> a ..",
    ".. a b c .. -> .. c a b ..",
    ".. b c a .. -> .. ..",
    ".. b a -> .. a b",
    "c c .. -> ..",
    ".. a c b .. -> .. b c a ..",
    ".. c a -> .. c",
    "b b .. -> b ..",
    ".. a a -> .. c c",
    "? .. c a .. -> ? .. ..",
    None,  # an even number of b
    None,  # longer than 15
    "a c .. -> z z ..",
)
_TEXT = "Rewrite the string by the first rule that fits, until none fits.\n{rules}\nString: {string}"

Rule = Callable[[str], tuple[str, int]]
"""Maps a string to the rewritten one and the number of the rule; 0 where the rule does not match."""


@dataclass(frozen=True)
class _Size:
    rules: int
    length: tuple[int, int]
    steps: tuple[int, int]  # rewritings, final answer not included


_SIZES: dict[Level, _Size] = {
    "easy": _Size(4, (5, 8), (2, 3)),
    "medium": _Size(5, (6, 10), (3, 5)),
    "hard": _Size(6, (8, 13), (5, 9)),
}


def draw(rng: Random, level: Level | None) -> Question | None:
    """A problem; None where one of its rules counts letters, or where rewriting never ends."""
    chosen: Level = rng.choice(LEVELS) if level is None else level
    data, (fewest, most) = _dataset(chosen), _SIZES[chosen].steps
    while True:  # most problems take one step: draw again here, so that levels come equally often
        found = data[rng.randrange(2**60)]["metadata"]
        states: list[str] = found["states"]
        if fewest < len(states) <= most + 1 and states[-1]:
            break
    texts = [text for text, _ in data.rules]
    picked = [texts.index(text) for text in found["selected_rules"]]
    rules: list[Rule] = [data.rules[index][1] for index in picked]
    notation = [_NOTATION[index] for index in picked]
    if None in notation or any(rule(states[-1])[1] for rule in rules):  # one that still fits would go on for ever
        return None
    answer = _apart(states[-1])
    listed = "\n".join(f"{number}. {rule}" for number, rule in enumerate(notation, 1))
    text = _TEXT.format(rules=listed, string=_apart(states[0]))
    return Question(text, answer, reference_steps=(*map(_apart, states[1:]), f"#### {answer}"))


def _apart(state: str) -> str:
    return " ".join(state)


@cache
def _dataset(level: Level) -> Any:
    try:
        from reasoning_gym.algorithmic import (  # imports in 6 s: only when needed
            StringManipulationConfig,
            StringManipulationDataset,
        )
    except ImportError:
        raise MissingExtra("reasoning-gym") from None
    size = _SIZES[level]
    (low, high), rules = size.length, size.rules
    return StringManipulationDataset(
        StringManipulationConfig(
            min_string_length=low, max_string_length=high, min_num_rules=rules, max_num_rules=rules, seed=0, size=1
        )
    )


FAMILY = Family("string_rewriting", draw, after_mark, same_words, same_words)
