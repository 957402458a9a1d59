"""Equations between numbers that a text states, such as `12 * 3 = 36`, recomputed. Nothing of the text is run."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

_TOKEN = re.compile(
    r"(?P<number>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?|\.\d+%?)|(?P<sign>[-+*/()])|(?P<equals>=)|(?P<space>\s+)|."
    r"|\n",
)
_SIGNS = {"×": "*", "⋅": "*", "·": "*", "÷": "/", "−": "-", "–": "-", r"\times": "*", r"\cdot": "*", r"\div": "/"}
_MARKUP = re.compile(r"<<[^<>]*>>|\\[$,! ()\[\]]|\\left|\\right|\$|`|(?<![\d)])\*\*|\*\*(?![\d(])")
_MOST = 40  # tokens of a left side
_DIGITS = 18
_OPERATIONS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def false_equations(text: str) -> int:
    """How many of the equations that a text states are false.

    An equation has numbers, signs of the four operations and parentheses on the left, at least one operation, and a
    number on the right, which may be rounded. What has variables, units between its numbers, powers or another form is
    none.
    """
    return sum(not holds for holds in equations(text))


def equations(text: str) -> list[bool]:
    """For each equation that a text states, whether it is true."""
    for written, sign in _SIGNS.items():
        text = text.replace(written, sign)
    tokens = [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(_MARKUP.sub("", text))]
    tokens = [(kind, token) for kind, token in tokens if kind != "space"]
    found = []
    for place, (kind, _) in enumerate(tokens):
        if kind == "equals" and (right := _right(tokens, place + 1)) and (left := _left(tokens, place)):
            value = _value(left)
            if value is not None:
                found.append(_rounds_to(value, right))
    return found


def _left(tokens: Sequence[tuple[str, str]], end: int) -> str:
    """The expression that ends here; empty: there is none."""
    start = end
    while start and tokens[start - 1][0] in ("number", "sign"):
        start -= 1
        if end - start > _MOST:
            return ""
    opened = [token for _, token in tokens[start:end]]
    while start < end and tokens[start] == ("sign", "(") and opened.count("(") > opened.count(")"):
        start, opened = start + 1, opened[1:]  # opened around the equation
    # A letter, a power or a bracket before it: the end of something longer. A word before the space is none.
    if start and not tokens[start - 1][1].isalpha() and tokens[start - 1][1] not in ".,:;=(":
        return ""
    numbers = [token for kind, token in tokens[start:end] if kind == "number"]
    if len(numbers) < 2 or max(map(len, numbers)) > _DIGITS:
        return ""
    return "".join(_plain(token) for _, token in tokens[start:end])


def _right(tokens: Sequence[tuple[str, str]], start: int) -> str:
    """The number that begins here, if it stands alone; empty: it does not."""
    sign = "-" if tokens[start : start + 1] == [("sign", "-")] else ""
    start += bool(sign)
    if start >= len(tokens) or tokens[start][0] != "number" or len(tokens[start][1]) > _DIGITS:
        return ""
    behind = tokens[start + 1][1] if start + 1 < len(tokens) else ""
    return "" if behind and behind in "+-*/(^" else sign + tokens[start][1]


def _plain(token: str) -> str:
    token = token.replace(",", "")
    return f"({token[:-1]}/100)" if token.endswith("%") else token


def _value(expression: str) -> Fraction | None:
    """The value of an expression of numbers; None: it is something else, or not defined."""
    try:
        return _of(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _of(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(repr(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_of(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_of(node.left), _of(node.right))
    raise ValueError("no arithmetic")


def _rounds_to(value: Fraction, written: str) -> bool:
    """Whether a number is this value, rounded or cut to the digits that it has."""
    digits = written.replace(",", "").rstrip("%")
    unit = Fraction(1, 10 ** len(digits.partition(".")[2])) / (100 if written.endswith("%") else 1)
    apart = abs(value - Fraction(digits) / (100 if written.endswith("%") else 1))
    return apart == 0 or (apart < unit and (value / unit).denominator != 1)
