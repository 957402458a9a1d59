"""GSM8K: the number that a solution ends in."""

from __future__ import annotations

import pytest

from trim.tasks import gsm8k
from trim.types import Question


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 1,234", "1234"),
        ("so\nA: $18", "18"),
        (r"\boxed{-3.50 dollars}", "-3.50"),
        ("A: 3 apples, A: .5", ".5"),
        ("It is 7.", None),
        ("#### none", None),
    ],
)
def test_gsm8k_answers(text: str, answer: str | None) -> None:
    assert gsm8k.answer(text) == answer


def test_rows_become_questions() -> None:
    row = {"question": "Janet's ducks ...", "answer": "Janet sells <<16-3-4=9>>9 ... #### 18"}
    assert gsm8k.BENCHMARK.question(row, 3) == Question("Janet's ducks ...", "18", "gsm8k/3")
