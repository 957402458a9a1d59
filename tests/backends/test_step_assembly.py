"""Steps and their tokens from chunks, without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trim.backends.answer_counts import AnswerTotals
from trim.backends.step_assembly import Assembler, Begun, Chunk, Terms
from trim.backends.token_counter import TokenCounter
from trim.backends.token_counts import TextCounter, TokenCounts
from trim.backends.token_logprobs import TokenLogprob
from trim.errors import BackendUnavailable, BadResponse
from trim.steps import StepFormat
from trim.types import Finish, Role, Step


def assembler(
    limit: int | None = None, *, stop: bool = False, longest: int = 100, counter: TokenCounter | None = None
) -> Assembler:
    return Assembler(Terms("weak model", Role.WEAK, StepFormat(), "prompt", limit, longest, stop, TextCounter(counter)))


def test_running_counts_go_to_the_step_that_they_belong_to() -> None:
    steps: list[Step] = []
    parts = assembler()
    for text, count in (("one", 1), (" more\n\n", 3), ("two", 4), ("", 4)):
        steps += parts.feed(Chunk(text, counts=TokenCounts(completion=count, prompt=9, cached=2)))
    assert (parts.pending_tokens, parts.totals) == (1, AnswerTotals(9, 2, 4))
    steps += parts.feed(Chunk(finish="stop", counts=TokenCounts(completion=5)))
    assert parts.finished
    steps += parts.end()
    assert [(step.text, step.tokens, step.finish) for step in steps] == [
        ("one more\n\n", 3, Finish.SEPARATOR),
        ("two", 2, Finish.EOS),
    ]
    assert [(step.prompt_tokens, step.cached_tokens) for step in steps] == [(9, 2), (0, 0)]
    assert parts.pending_tokens == 0


def test_each_step_has_the_log_probabilities_of_its_own_tokens() -> None:
    """As llama-server sends them: the end token comes in a chunk without text."""
    parts = assembler()
    steps: list[Step] = []
    for count, (text, logprob) in enumerate((("one", -1.0), ("\n\n", -3.0), ("two", -0.5), ("", -9.0)), 1):
        steps += parts.feed(
            Chunk(text, counts=TokenCounts(completion=count), logprobs=(TokenLogprob(logprob, -logprob),))
        )
    parts.feed(Chunk(finish="stop"))
    steps += parts.end()
    assert [(step.logprob, step.least_logprob, step.tokens) for step in steps] == [(-2.0, -3.0, 2), (-0.5, -0.5, 2)]
    found = [(step.mean_entropy, step.most_entropy, step.uncertain) for step in steps]
    assert found == [(2.0, 3.0, 0.5), (0.5, 0.5, 0.0)]


def test_a_prompt_that_no_step_carries_is_pending() -> None:
    parts = assembler()
    parts.feed(Chunk("half", counts=TokenCounts(completion=1, prompt=9, cached=2)))
    assert (parts.pending_tokens, parts.totals) == (1, AnswerTotals(9, 2, 1))


def test_a_limit_ends_it_and_what_is_past_it_is_pending() -> None:
    parts = assembler(limit=1)
    (step,) = parts.feed(Chunk("a\n\nb\n\nc", counts=TokenCounts(completion=6)))
    assert parts.done
    assert step.text == "a\n\n"
    assert step.tokens + parts.pending_tokens == 6


def test_a_step_that_never_ends_is_cut_off() -> None:
    parts = assembler(longest=4)
    assert parts.feed(Chunk("a b", counts=TokenCounts(completion=3))) == []
    (step,) = parts.feed(Chunk(" c d", counts=TokenCounts(completion=5)))
    assert (step.finish, step.tokens, parts.done) == (Finish.LENGTH, 5, True)


def test_a_single_step_waits_for_the_count_at_the_end() -> None:
    parts = assembler(limit=1, stop=True)
    assert parts.feed(Chunk("a", finish="stop", stop="\n\n", told=True)) == []
    parts.feed(Chunk(counts=TokenCounts(completion=2, prompt=9)))
    (step,) = parts.end()
    assert (step.text, step.tokens, step.finish, step.prompt_tokens) == ("a\n\n", 2, Finish.SEPARATOR, 9)


def test_a_step_that_the_stop_string_ends_too_early_goes_on() -> None:
    parts = assembler(limit=1, stop=True)
    end = Chunk("### Plan", finish="stop", stop="\n\n", told=True, counts=TokenCounts(prompt=9, completion=4))
    assert parts.feed(end) == parts.end() == []
    begun = parts.unfinished
    assert begun == Begun("### Plan\n\n", 4, 9)
    parts = Assembler(parts._terms, begun)
    parts.feed(Chunk("We add.", finish="stop", stop="\n\n", told=True, counts=TokenCounts(prompt=13, completion=3)))
    (step,) = parts.end()
    assert (step.text, step.tokens, step.prompt_tokens) == ("### Plan\n\nWe add.\n\n", 7, 9)
    assert parts.totals.completion == 3  # of this request


def test_where_the_stop_string_is_told_anything_else_is_the_end() -> None:
    parts = assembler(limit=1, stop=True)
    parts.feed(Chunk("a", finish="stop", told=True, counts=TokenCounts(completion=2)))
    assert parts.end()[0].finish is Finish.EOS


def test_a_local_tokenizer_counts_where_the_server_does_not(counter: TokenCounter) -> None:
    parts = assembler(counter=counter)
    (step,) = parts.feed(Chunk("one two\n\nthree"))
    assert step.tokens == counter.count("one two\n\n")
    assert parts.pending_tokens == 1


def test_an_answer_that_the_server_gave_up_is_an_error() -> None:
    broken = assembler()
    broken.feed(Chunk("a", counts=TokenCounts(completion=1), finish="abort"))
    with pytest.raises(BackendUnavailable, match="'abort'"):
        broken.end()


ENDLESS = Terms("a server", Role.WEAK, StepFormat(), "prompt", None, 50, stop=False, max_tokens=200)


@pytest.mark.parametrize("text", ["x", "word ", " ", "a\n"])
@pytest.mark.parametrize("stop", [False, True])
def test_a_step_without_counts_or_end_is_cut(text: str, stop: bool) -> None:
    parts, steps = Assembler(replace(ENDLESS, stop=stop)), []
    while not parts.done:
        steps += parts.feed(Chunk(text * 10))
    (step,) = steps
    assert step.finish is Finish.LENGTH
    assert step.estimated
    assert 50 <= step.tokens <= (120 if stop else 70)
    assert parts.totals.completion == step.tokens


def test_steps_without_counts_or_end_are_refused_and_counted() -> None:
    parts, steps = Assembler(ENDLESS), []
    with pytest.raises(BadResponse, match=r"a server: has written 7\d\d\d bytes where at most 200 tokens were asked"):
        for _ in range(10_000):
            steps += parts.feed(Chunk("step.\n\n" * 10))
    assert parts.totals.completion == sum(step.tokens for step in steps) + parts.pending_tokens
    assert 1_500 < parts.totals.completion < 2_500


def test_a_whole_answer_that_is_far_too_long_is_refused_and_counted() -> None:
    parts = Assembler(ENDLESS)
    with pytest.raises(BadResponse, match="has written 60000 bytes"):
        parts.feed(Chunk("word\n\n" * 10_000, finish="stop"))
    assert parts.totals.completion > 10_000
