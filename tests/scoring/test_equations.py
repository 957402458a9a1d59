"""Equations in steps, as models write them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trim.scoring.equations import equations, false_equations

CASES: list[tuple[str, list[bool]]] = [
    ("So 12 * 3 = 36 pens.", [True]),
    ("So 12 * 3 = 35 pens.", [False]),
    ("He has 16 - 3 - 4 = <<16-3-4=9>>9 eggs.", [True]),
    ("(12 * 3 = 36), so **2 + 2 = 4**", [True, True]),
    ("\\( 9 \\times 2 = \\$18 \\)", [True]),
    ("$9 \\cdot 2 = 19$", [False]),
    ("She pays $5 + $2.50 = $7.50.", [True]),
    ("100 / 3 = 33.33", [True]),
    ("100 / 3 = 33", [True]),
    ("100 / 3 = 33.4", [True]),
    ("100 / 3 = 34.4", [False]),
    ("2.5 * 2 = 5.1", [False]),
    ("10,000 + 500 = 10,500", [True]),
    ("30 / 60 = 50%", [True]),
    ("20% * 50 = 10", [True]),
    ("(2 + 3) * 4 = 20 and 2 + 3 * 4 = 14", [True, True]),
    ("5 - 8 = -3", [True]),
    ("6 / 0 = 0", []),
    ("2 + 3 = 5 + 1", []),  # the right side goes on
    ("x + 3 = 5; 2x * 3 = 7", []),
    ("2^3 + 1 = 9", []),
    ("5 apples + 3 apples = 8", []),
    ("Step 1 = 1", []),
    ("x = 3 * 4 = 12", [True]),
    ("007 + 1 = 8", []),
    ("__import__('os').system('x') = 1", []),
    ("9**9**9 * 9 = 1", []),
]


@pytest.mark.parametrize(("text", "found"), CASES)
def test_as_models_write_them(text: str, found: list[bool]) -> None:
    assert equations(text) == found
    assert false_equations(text) == found.count(False)


@settings(max_examples=50)
@given(st.text(alphabet="0123456789+-*/()=. ,%$x\n\\", max_size=60))
def test_no_text_is_an_error(text: str) -> None:
    assert 0 <= false_equations(text) <= text.count("=")


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 10**6), st.sampled_from("+-*"))
def test_what_is_right_is_right_and_one_more_is_wrong(a: int, b: int, sign: str) -> None:
    value = {"+": a + b, "-": a - b, "*": a * b}[sign]
    assert equations(f"{a} {sign} {b} = {value}.") == [True]
    assert equations(f"{a} {sign} {b} = {value + 1}.") == [False]


def test_long_texts_take_no_time() -> None:
    started = time.perf_counter()
    for text in (" " * 10_000, "(" * 10_000 + "=1", "1+" * 5_000 + "1=2", "1 1 = " * 3_000, "<<" * 5_000):
        false_equations(text)
    assert time.perf_counter() - started < 2
