"""string_rewriting: the notation says what the rules do."""

from __future__ import annotations

import re
from itertools import islice

from trim.tasks import string_rewriting


def test_rewriting_follows_the_rules_in_their_own_notation() -> None:
    """The notation says what reasoning-gym's rule does: as a regular expression it makes the same states."""
    for question in islice(string_rewriting.FAMILY.stream(7, "test"), 200):
        rules = re.findall(r"^\d+\. (.*) -> (.*)$", question.text, re.MULTILINE)
        state = question.text.rpartition("String: ")[2].replace(" ", "")
        for step in question.reference_steps[:-1]:
            state = next(made for rule in rules if (made := rewrite(state, rule)) is not None)
            assert step == " ".join(state)
        assert all(rewrite(state, rule) is None for rule in rules)


def rewrite(state: str, rule: tuple[str, str]) -> str | None:
    """`..` is any letters, the first place that fits counts; `?` is one letter."""
    pattern, result = (side.split() for side in rule)
    regex = "".join("(.*?)" if part == ".." else "(.)" if part == "?" else part for part in pattern)
    found = re.fullmatch(regex, state)
    if found is None:
        return None
    kept = [text for text, part in zip(found.groups(), (p for p in pattern if p in ("..", "?")), strict=True)]
    if pattern[-1] == "?":  # the letter at the end is dropped
        kept = kept[:-1]
    rest = iter(kept)
    return "".join(next(rest) if part in ("..", "?") else part for part in result)
