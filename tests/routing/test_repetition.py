"""What counts as a loop of repeated text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.routing.repetition import LEAST, LONGEST, TIMES, is_loop

PARAGRAPH = "So we have 3 apples in the basket, and we add 4 more apples to the basket.\n\n"


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        (PARAGRAPH * 40, True),
        ("Let us see.\n\n" + PARAGRAPH * 40 + "So we have 3 ap", True),  # cut off within the passage
        ("Wait, " * 400, True),
        ("0" * 3_000, True),
        ("one\n\ntwo\n\nthree\n\n" * 130, True),  # a passage of several steps
        ("".join(f"Step {n}: {PARAGRAPH}" for n in range(60)), False),  # it counts: only limits stop it
        ("I will not talk in class.\n\n" * 20, False),  # asked for, perhaps
        (PARAGRAPH * 40 + "Therefore the answer is 7.", False),
        ("x" * (LONGEST + 1) * 4, True),
        ("".join(chr(0x4E00 + n) for n in range(LONGEST + 100)) * TIMES, False),  # the passage is too long
        ("", False),
    ],
)
def test_a_loop_is_a_passage_over_and_over_at_the_end(text: str, loop: bool) -> None:
    assert is_loop([text]) is loop


@given(st.text(min_size=1, max_size=60), st.text(max_size=50), st.integers(1, 400))
def test_how_the_text_is_cut_makes_no_difference(passage: str, before: str, size: int) -> None:
    text = before + passage * (LEAST // len(passage) + TIMES)
    steps = [text[at : at + size] for at in range(0, len(text), size)]
    assert is_loop(reversed(steps))
    assert not is_loop(reversed([*steps, "\N{SNOWMAN}" + passage]))
