"""Formulas for math-verify: names that its parser keeps apart, and numbers that tell different formulas apart.

Two formulas that differ where each variable has a certain value are not equal, which is much quicker to see than by
simplifying their difference. Whether two that agree there are equal, only algebra can say.
"""

from __future__ import annotations

import re
import zlib
from cmath import isfinite
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sympy import Expr, Float

_NAMES = {r"\gamma": r"\varrho ", "E": r"\Upsilon ", "e": r"\Upsilon ", "I": r"\Xi "}
"""Names that the parser takes for a constant or a function, or does not read with a subscript."""

_NAME = re.compile(r"\\[A-Za-z]+|[EeI](?=\s*_)")
_PRIMES = re.compile(r"(?<=[A-Za-z)}])'+")
_SIGN = r"\\(?:odot|max|min|star|ast|oplus|perp|parallel)(?![A-Za-z])"
_SIGN_BELOW = re.compile(rf"_\s*(?:\{{\s*{_SIGN}\s*\}}|{_SIGN})")
_NO_LETTERS = re.compile(r"\\[A-Za-z]+|_\s*(?:\{[^{}]*\}|\w)")
_CAPITAL = re.compile(  # but for those in commands, subscripts and below accents
    r"_\s*(?:\{[^{}]*\}|[A-Z])|\\(?:hat|bar|d?dot|vec|tilde|overline)\s*(?:\{[^{}]*\}|[A-Z])|\\[A-Za-z]+|(?P<letter>[A-Z])"
)
_APART = 1e-6  # of the larger one
_DIGITS = 20


def readable(text: str) -> str:
    """A plain formula with names that the parser keeps apart; it takes I_1 for I, and R for r."""
    text = _NAME.sub(lambda found: _NAMES.get(found[0], found[0]), text)
    text = _PRIMES.sub(lambda found: "^{" + r"\prime" * len(found[0]) + "}", text)
    text = _SIGN_BELOW.sub(lambda found: "_{" + found[0].strip("_ {}\\") + "}", text)
    if r"\text" in text or text.isalpha():  # words
        return text
    small = set(_NO_LETTERS.sub("", text)) - set("ei")

    def kept_apart(found: re.Match[str]) -> str:
        letter = found["letter"]
        return rf"\mathcal{{{letter}}}" if letter and letter.lower() in small else found[0]

    return _CAPITAL.sub(kept_apart, text)


def reader() -> Callable[[str], list[object]]:
    """math-verify's parser; for a plain text it gives a formula of sympy and the text, or the text alone, or nothing.

    Each text is read once.
    """
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    # What they call units are variables too: the m of kg and the t of e^t.
    latex = LatexExtractionConfig(normalization_config=NormalizationConfig(malformed_operators=True, nits=True))

    @cache
    def read(text: str) -> list[object]:
        formula: list[object] = parse(f"\\boxed{{{readable(text)}}}", [latex], parsing_timeout=None)
        return formula

    return read


@dataclass(frozen=True)
class Sample:
    """What is quickly seen of a formula.

    Args:
        value: of a scalar, with some number for each variable and some function for each unknown one; None if it has
            none, or is a lone variable, which may be a word.
        names: of the variables and unknown functions in an equation; None of anything else.
        several: whether it is a tuple, an interval or a matrix.
    """

    value: complex | None = None
    names: frozenset[str] | None = None
    several: bool = False


def sample(formula: object) -> Sample:
    """What is quickly seen of what the parser made of a text."""
    from sympy import Eq, Expr, Interval, MatrixBase, Tuple
    from sympy.core.function import AppliedUndef

    if isinstance(formula, Eq):
        calls = {call.func.__name__ for call in formula.atoms(AppliedUndef)}
        return Sample(names=frozenset(calls | {each.name for each in formula.free_symbols}))
    if isinstance(formula, Expr) and not isinstance(formula, MatrixBase):
        return Sample(_value(formula))
    return Sample(several=isinstance(formula, Interval | MatrixBase | Tuple))


def _value(formula: Expr) -> complex | None:
    from sympy import Add, Derivative, Integral, Limit, Product, Sum, cos
    from sympy.core.function import AppliedUndef

    if formula.is_Symbol or formula.has(Derivative, Integral, Limit, Product, Sum):
        return None
    try:
        for call in formula.atoms(AppliedUndef):
            formula = formula.subs(call, _number(call.func.__name__) * cos(Add(*call.args)))
        found = complex(formula.evalf(_DIGITS, subs={each: _number(each.name) for each in formula.free_symbols}))
    except Exception:  # what cannot be worked out has no value, whatever sympy says about it
        return None
    return found if isfinite(found) else None


def _number(name: str) -> Float:
    """A number between 0.1 and 1.4, always the same for a name."""
    from sympy import Float

    return Float(zlib.crc32(name.encode()) % 9973 + 1000, _DIGITS) / 7919


def differ(one: Sample, other: Sample) -> bool:
    """Whether two samples show that their formulas are not equal."""
    if one.value is not None and other.value is not None:
        return abs(one.value - other.value) > _APART * max(abs(one.value), abs(other.value))
    if one.names is not None and other.names is not None:
        return one.names != other.names
    return (one.value is not None and other.several) or (one.several and other.value is not None)
