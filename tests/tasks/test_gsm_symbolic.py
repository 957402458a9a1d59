"""gsm_symbolic: answers and step labels of word problems."""

from __future__ import annotations

import pytest

from trim.tasks import gsm_symbolic as gsm
from trim.types import Question


def test_step_labels_of_word_problems_go_by_their_numbers() -> None:
    question = Question("q", "7", reference_steps=("2 + 2 = 4", "4 + 3 = 7", "#### 7"))
    labels = gsm.FAMILY.step_labels
    assert labels(question, ["2 + 2 = 4", "so 4 + 3 = 7", "#### 7"]) == (True, True, True)
    assert labels(question, ["2 + 2 = 5", "4 + 3 = 7", "#### 7"]) == (False, False, False)
    assert labels(question, ["2 + 2 = 4", "#### 4"]) == (True, False)
    assert labels(question, ["2 + 2 = 4", "4 + 3 = 7", "#### 7", "more"]) == (True, True, True, False)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 12", "12"),
        ("#### $1,200.", "1200"),
        ("####-3", "-3"),
        ("#### 1\n#### 2", "2"),
        ("12", None),
        ("####", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert gsm.final_answer(text) == answer
