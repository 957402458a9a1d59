"""Comparing answers by their parts: lists, sets, intervals, equations, numbers; formulas are left to another."""

from __future__ import annotations

import re
from collections.abc import Callable

from trim.tasks.spelling import number, without_unit

_LE = r"\s*(<|\\le(?![A-Za-z])|>|\\ge(?![A-Za-z]))\s*"
_TERM = r"((?:(?!\\[lg]e(?![A-Za-z]))[^<>=,])+?)"
_BETWEEN = re.compile(rf"{_TERM}{_LE}[A-Za-z]{_LE}{_TERM}")
_BEYOND = re.compile(rf"[A-Za-z]{_LE}{_TERM}")
_ELEMENT = re.compile(r"^[A-Za-z]\s*\\in(?![A-Za-z])\s*")
_BRACKETS = re.compile(r"([(\[])(.*)([)\]])")
_SET = re.compile(r"\\\{(.*)\\\}")
_SEPARATOR = r",|;|\\cup(?![A-Za-z])|\\text\{\s*(?:or|and)\s*\}|\s(?:or|and)\s"
_NAME = re.compile(r"\\angle[A-Z_{}\d ]+|(?:[A-Za-z]|\\[a-z]+)(?:\s*_\s*(?:\w|\{[^{}]*\}))?\s*(?:\([A-Za-z]\))?")
_SIGNS = (("+", "-"), ("-", "+"))
_EQUALS = r"(?<![<>!\\])="
_AROUND = re.compile(r"\s*([-+,;=<>()\[\]{}])\s*")
_WORDS = re.compile(r"\(?[A-Za-z]\)?|[A-Za-z][A-Za-z ]{3,}")


def same(answer: str, reference: str, leaf: Callable[[str, str], bool]) -> bool:
    """Whether an answer equals a reference, both plain; `leaf` decides about two formulas that are not lists.

    Lists and sets are equal in any order, tuples and intervals in theirs and with the same brackets.
    """
    if _AROUND.sub(r"\1", answer) == _AROUND.sub(r"\1", reference):
        return True
    if _WORDS.fullmatch(answer) and _WORDS.fullmatch(reference):  # to a formula's reader these are products
        return answer.strip("()").casefold() == reference.strip("()").casefold()
    answer, reference = without_unit(_interval(answer)), without_unit(_interval(reference))
    given, gold = number(answer), number(reference)
    if given is not None and gold is not None:
        return given.equals(gold)
    parts, gold_parts = _parts(answer), _parts(reference)
    if len(parts) > 1 or len(gold_parts) > 1:
        return _same_in_any_order(parts, gold_parts, leaf)
    if (parts[0], gold_parts[0]) != (answer, reference):
        return same(parts[0], gold_parts[0], leaf)
    sides, gold_sides = _split(answer, _EQUALS), _split(reference, _EQUALS)
    if len(sides) > 1 and len(gold_sides) == 1:
        return same(sides[-1], reference, leaf)
    if len(gold_sides) == 2 and _NAME.fullmatch(gold_sides[0]) and (len(sides) == 1 or sides[0] == gold_sides[0]):
        return same(sides[-1], gold_sides[1], leaf)
    either = _split(answer, r"\\approx(?![A-Za-z])")
    if len(either) > 1:
        return any(same(side, reference, leaf) for side in either)
    bracketed, gold_bracketed = _BRACKETS.fullmatch(answer), _BRACKETS.fullmatch(reference)
    if bracketed is not None and gold_bracketed is not None:
        inner, gold_inner = _split(bracketed[2], ","), _split(gold_bracketed[2], ",")
        if len(gold_inner) > 1:
            alike = bracketed.group(1, 3) == gold_bracketed.group(1, 3) and len(inner) == len(gold_inner)
            return alike and all(same(*pair, leaf) for pair in zip(inner, gold_inner, strict=True))
    return leaf(answer, reference)


def last_side(text: str) -> str:
    """What an equation comes to; of several equations the whole text."""
    head, _, last = text.rpartition("=")
    return text if len(_split(head, r",(?!\d{3}(?!\d))|;")) > 1 else last.strip()


def _interval(text: str) -> str:
    r"""`-2 \le x < 7` as `[-2,7)`, and `x \in A` as `A`; any other text as it is."""
    text = _ELEMENT.sub("", text)
    if (found := _BETWEEN.fullmatch(text)) is not None:
        low, first, second, high = found.groups()
        if ("<" in first + second or "le" in first + second) and (">" in first + second or "ge" in first + second):
            return text
        if first in (">", r"\ge"):
            low, first, second, high = high, second, first, low
        return f"{'[' if 'e' in first else '('}{low.strip()},{high.strip()}{']' if 'e' in second else ')'}"
    if (found := _BEYOND.fullmatch(text)) is not None:
        closed = "e" in found[1]
        if found[1] in (">", r"\ge"):
            return f"{'[' if closed else '('}{found[2]},\\infty)"
        return f"(-\\infty,{found[2]}{']' if closed else ')'}"
    return text


def _parts(text: str) -> list[str]:
    r"""The members of a list, a set or a union; `\pm` makes two of one."""
    while (inner := _SET.fullmatch(text)) is not None:
        text = inner[1]
    parts = []
    for part in _split(text, _SEPARATOR):
        parts += (
            [part.replace(r"\pm", sign).replace(r"\mp", other).lstrip("+ ") for sign, other in _SIGNS]
            if r"\pm" in part
            else [part]
        )
    return parts


def _split(text: str, separator: str) -> list[str]:
    """The parts of a text between separators outside brackets."""
    parts, depth, start = [], 0, 0
    for found in re.finditer(rf"(?P<bracket>[(\[{{)\]}}])|(?:{separator})", text):
        if found["bracket"]:
            depth += 1 if found["bracket"] in "([{" else -1
        elif depth == 0:
            parts.append(text[start : found.start()].strip())
            start = found.end()
    return [*parts, text[start:].strip()]


def _same_in_any_order(parts: list[str], gold_parts: list[str], leaf: Callable[[str, str], bool]) -> bool:
    if len(parts) != len(gold_parts):
        return False
    left = list(parts)
    for gold in gold_parts:
        found = next((part for part in left if same(part, gold, leaf)), None)
        if found is None:
            return False
        left.remove(found)
    return True
