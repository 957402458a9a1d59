r"""Where a solution marks its final answer."""

from __future__ import annotations

import pytest

from trim.answer_marks import behind_mark, is_empty, marked_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{7} and \\boxed{}", "7"),
        ("\\boxed{5} so \\boxed{7} or \\boxed{", "7"),
        ("\\fbox{a{b}c}", "a{b}c"),
        ("\\boxed\\frac12", "\\frac12"),
        ("#### 42\n", "42"),
        ("#### 5\n\n#### Step 2: Check\n\nIt holds.", "5"),
        ("I use \\boxed for it", None),
        ("\\boxed{your answer}", None),
        ("#### Plan\n\nWe add.", None),
        ("The final answer is 5", None),
    ],
)
def test_the_last_mark_with_an_answer_counts(text: str, answer: str | None) -> None:
    assert marked_answer(text) == answer


def test_headings_and_placeholders_are_no_answers() -> None:
    assert behind_mark(" Step 1: Read") is None
    assert behind_mark(" Answer: 3") == "3"
    assert all(map(is_empty, ("", " ... ", "\\text{}", "\\quad", "your answer", "?")))
    assert not any(map(is_empty, ("0", "-", "\\emptyset", "A")))
