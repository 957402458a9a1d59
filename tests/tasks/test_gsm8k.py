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
        ("#### -$42", "-42"),
        ("#### −42", "-42"),
        ("#### **42**", "42"),
        ("#### 42<|endoftext|>", "42"),
        ("A: 18</s>", "18"),
        (r"\boxed{5+3=8}", "8"),
        ("#### 10 - 4 = 6 apples", "6"),
        ("#### 10 - 4", "4"),
        (r"\boxed{150 \div 3 = 50}", "50"),  # ProcessBench gsm8k-18, Llama-3-8B
        (r"\boxed{-$15}", "-15"),  # ProcessBench gsm8k-6, Llama-3.1-70B
        (r"\boxed{70\%}", "70%"),  # ProcessBench gsm8k-9, Llama-3.1-8B
        (r"\boxed{70{,}000}", "70000"),
        (r"\boxed{70\,000}", "70000"),
        ("#### 1 000 000", "1000000"),
        (r"\boxed{\frac{3}{4}}", r"\frac{3}{4}"),
        (r"\boxed{2\frac{1}{2}}", r"2\frac{1}{2}"),
        ("#### 1/2 cup", "1/2"),
        (r"\boxed{864\text{ cm}^2}", "864"),
        ("#### 1.5e3", "1.5e3"),
    ],
)
def test_gsm8k_answers(text: str, answer: str | None) -> None:
    assert gsm8k.answer(text) == answer


def test_rows_become_questions() -> None:
    row = {"question": "Janet's ducks ...", "answer": "Janet sells <<16-3-4=9>>9 ... #### 18"}
    assert gsm8k.BENCHMARK.question(row, 3) == Question("Janet's ducks ...", "18", "gsm8k/3")
