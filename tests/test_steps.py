"""Steps: where they end, whatever the pieces in which a text arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.errors import ConfigError
from trim.steps import Cutter, Separator, StepFormat, is_degenerate

TEXTS = {
    Separator.BLANK_LINE: ("a\nb\n \nc\n\n\nd", ("a\nb\n \n", "c\n\n", "\nd")),
    Separator.NEWLINE: ("a\n\nb\nc\n", ("a\n", "\nb\n", "c\n")),
    Separator.NUMBERED: (
        "1. one\nmore\n2) two\nStep 3: three 4. not",
        ("1. one\nmore\n", "2) two\n", "Step 3: three 4. not"),
    ),
    Separator.SENTENCE: ("It is 1.5. So? Yes! done", ("It is 1.5. ", "So? ", "Yes! ", "done")),
}


@pytest.mark.parametrize("separator", Separator)
def test_a_text_is_split_at_its_separator(separator: Separator) -> None:
    text, steps = TEXTS[separator]
    assert StepFormat(separator).split(text) == steps


@given(st.sampled_from(Separator), st.integers(1, 9))
def test_pieces_of_a_text_give_the_same_steps(separator: Separator, size: int) -> None:
    text, steps = TEXTS[separator]
    cutter = Cutter(StepFormat(separator))
    found = [step for at in range(0, len(text), size) for step in cutter.feed(text[at : at + size])]
    assert tuple(step for step in (*found, cutter.rest()) if step) == steps


def test_what_judges_read_between_steps_and_what_servers_stop_at() -> None:
    assert [StepFormat(separator).joiner for separator in Separator] == ["\n\n", "\n", "\n", " "]
    assert [StepFormat(separator).stop for separator in Separator] == ["\n\n", "\n", None, None]


@pytest.mark.parametrize("text", ["#### 42", r"so $\\boxed {3}$", "x\n#### y"])
def test_final_answers_are_recognised(text: str) -> None:
    assert StepFormat().has_answer(text.replace("\\\\", "\\"))
    assert not StepFormat().has_answer("#### ")
    assert StepFormat(answer="DONE").has_answer("I am DONE.")


def test_an_invalid_answer_pattern_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a valid regular expression"):
        StepFormat(answer="(")


def test_steps_without_a_word_are_degenerate() -> None:
    assert all(map(is_degenerate, ("", "---", "$ =")))
    assert not any(map(is_degenerate, ("a", "=1", "é")))
