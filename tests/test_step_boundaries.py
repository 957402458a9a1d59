"""Which steps a text has, and what holds their boundaries back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.step_boundaries import cut_text
from trim.steps import Separator, StepFormat

CODE = "```\na\n\nb\n```\n\n"


@pytest.mark.parametrize(
    ("separator", "text", "held"),
    [
        (Separator.BLANK_LINE, f"Code:\n{CODE}So.", [["code block"], []]),
        (Separator.BLANK_LINE, "### Plan\n\nWe add.\n\nSo.", [["heading"], []]),
        (Separator.BLANK_LINE, "\\[ 1 +\n\n2 \\]\n\nSo.", [["LaTeX display"], []]),
        (Separator.BLANK_LINE, "---\n\nWe add.", [["no letter or digit yet"]]),
        (Separator.BLANK_LINE, "We add.\n\n\n\nSo.", [[], []]),
        (Separator.NEWLINE, "|a|b|\n|-|-|\n|1|2|\nSo.\n", [["table", "table"], []]),
        (Separator.NUMBERED, "1. a\n```\n2. b\n```\n2. c", [["code block"], []]),
        (Separator.SENTENCE, "By e.g. adding. So it is.", [["abbreviation"], []]),
        (Separator.SENTENCE, "Read `f. g`. So.", [["inline code"], []]),
    ],
)
def test_what_holds_a_boundary_back(separator: Separator, text: str, held: list[list[str]]) -> None:
    steps = cut_text(StepFormat(separator), text)
    assert [[one.by for one in step.held] for step in steps] == held
    assert all(text[: one.at].endswith(("\n", ".")) for step in steps for one in step.held)


def test_reasoning_in_one_step_holds_its_boundaries_back_and_has_no_answer() -> None:
    text = "<think>\nMaybe \\boxed{1}.\n\nNo.\n</think>\n\nSo \\boxed{2}.\n\nDone."
    one = cut_text(StepFormat(reasoning="one-step"), text)
    assert [[held.by for held in step.held] for step in one] == [["reasoning"], [], []]
    assert [step.answer for step in one] == [None, "2", None]
    assert [step.answer for step in cut_text(StepFormat(), text)] == [None, None, "2", None]


def test_answers_by_a_pattern_or_not_at_all() -> None:
    text = "a\n\nAnswer: 7 apples\n\nb"
    assert [step.answer for step in cut_text(StepFormat(answer=r"Answer: \d+"), text)] == [None, "Answer: 7", None]
    assert [step.answer for step in cut_text(StepFormat(answer=None), "\\boxed{1}")] == [None]
    assert [step.line for step in cut_text(StepFormat(), text)] == [1, 3, 5]


@given(
    st.lists(st.sampled_from(["a. ", "\n", "\n\n", "```\n", "|x|\n", "|-|\n", "1. ", "# h\n", "$$", "<think>", "."]))
)
def test_the_steps_are_those_of_the_format(parts: list[str]) -> None:
    text = "".join(parts)
    for separator in Separator:
        form = StepFormat(separator)
        assert tuple(step.text for step in cut_text(form, text)) == form.split(text)
