"""Steps and their tokens from chunks, without a server."""

from __future__ import annotations

import pytest

from trim.backends.client import TokenCounter
from trim.backends.step_assembly import Assembler, Chunk, Terms
from trim.errors import BackendUnavailable, BadResponse
from trim.protocols import PendingPrompt
from trim.steps import StepFormat
from trim.types import Finish, Role, Step


def assembler(
    limit: int | None = None, *, stop: bool = False, longest: int = 100, counter: TokenCounter | None = None
) -> Assembler:
    return Assembler(Terms("weak model", Role.WEAK, StepFormat(), "prompt", limit, longest, stop, counter))


def test_running_counts_go_to_the_step_that_they_belong_to() -> None:
    steps: list[Step] = []
    parts = assembler()
    for text, count in (("one", 1), (" more\n\n", 3), ("two", 4), ("", 4)):
        steps += parts.feed(Chunk(text, completion_tokens=count, prompt_tokens=9, cached_tokens=2))
    assert (parts.pending_tokens, parts.pending_prompt) == (1, PendingPrompt())
    steps += parts.feed(Chunk(finish="stop", completion_tokens=5))
    assert parts.finished
    steps += parts.end()
    assert [(step.text, step.tokens, step.finish) for step in steps] == [
        ("one more", 3, Finish.SEPARATOR),
        ("two", 2, Finish.EOS),
    ]
    assert [(step.prompt_tokens, step.cached_tokens) for step in steps] == [(9, 2), (0, 0)]
    assert parts.pending_tokens == 0


def test_a_prompt_that_no_step_carries_is_pending() -> None:
    parts = assembler()
    parts.feed(Chunk("half", completion_tokens=1, prompt_tokens=9, cached_tokens=2))
    assert (parts.pending_tokens, parts.pending_prompt) == (1, PendingPrompt(9, 2))


def test_a_limit_ends_it_and_what_is_past_it_is_pending() -> None:
    parts = assembler(limit=1)
    (step,) = parts.feed(Chunk("a\n\nb\n\nc", completion_tokens=6))
    assert parts.done
    assert step.text == "a"
    assert step.tokens + parts.pending_tokens == 6


def test_a_step_that_never_ends_is_cut_off() -> None:
    parts = assembler(longest=4)
    assert parts.feed(Chunk("a b", completion_tokens=3)) == []
    (step,) = parts.feed(Chunk(" c d", completion_tokens=5))
    assert (step.finish, step.tokens, parts.done) == (Finish.LENGTH, 5, True)


def test_a_single_step_waits_for_the_count_at_the_end() -> None:
    parts = assembler(limit=1, stop=True)
    assert parts.feed(Chunk("a", finish="stop", stop="\n\n", told=True)) == []
    parts.feed(Chunk(completion_tokens=2, prompt_tokens=9))
    (step,) = parts.end()
    assert (step.text, step.tokens, step.finish, step.prompt_tokens) == ("a", 2, Finish.SEPARATOR, 9)


def test_where_the_stop_string_is_told_anything_else_is_the_end() -> None:
    parts = assembler(limit=1, stop=True)
    parts.feed(Chunk("a", finish="stop", told=True, completion_tokens=2))
    assert parts.end()[0].finish is Finish.EOS


def test_a_local_tokenizer_counts_where_the_server_does_not(counter: TokenCounter) -> None:
    parts = assembler(counter=counter)
    (step,) = parts.feed(Chunk("one two\n\nthree"))
    assert step.tokens == counter.count("one two\n\n")
    assert parts.pending_tokens == 1


def test_no_way_to_count_and_no_way_to_end_are_errors() -> None:
    with pytest.raises(BadResponse, match="tokenizer file"):
        assembler().feed(Chunk("a\n\nb"))
    broken = assembler()
    broken.feed(Chunk("a", completion_tokens=1, finish="abort"))
    with pytest.raises(BackendUnavailable, match="'abort'"):
        broken.end()
