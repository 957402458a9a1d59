"""What a model says to its reader."""

from __future__ import annotations

import pytest

from trim.visible_text import reasons, visible


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", "a"),
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),
        ("b<think>a", "b"),
        ("a<|im_end|>b", "a"),
        ("[THINK]a[/THINK]b", "b"),
    ],
)
def test_reasoning_and_what_follows_the_end_are_left_out(text: str, said: str) -> None:
    assert visible(text) == said


def test_reasoning_that_was_opened_before() -> None:
    assert visible("a</think>b", reasoning=True) == "b"
    assert visible("a", reasoning=True) == ""


def test_whether_a_text_ends_inside_reasoning() -> None:
    assert reasons("<think>a</think>b<think>c")
    assert not reasons("<think>a</think>b")
    assert not reasons("a")
