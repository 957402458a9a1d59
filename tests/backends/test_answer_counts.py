"""The tokens of an answer are shared among its steps as its server counts them, and estimated where it does not."""

from __future__ import annotations

import pytest

from trim.backends.answer_counts import AnswerCounts, AnswerTotals, StepCount
from trim.backends.token_counts import TextCounter, TokenCounts

NONE = TokenCounts()
ONE = "a step of 24 characters\n"  # 6 tokens at 4 bytes each
TWO = "a step of forty characters altogether..\n"  # 10


def counts(most: int | None = None, counter: TextCounter | None = None) -> AnswerCounts:
    return AnswerCounts("weak model", counter or TextCounter(), "p" * 40, most)


def completion(count: int) -> TokenCounts:
    return TokenCounts(completion=count)


def test_a_count_in_every_chunk_is_exact() -> None:
    answer = counts()
    assert answer.read(TokenCounts(9, 4, 2), "a ", [], "a ") == []
    assert answer.read(completion(5), "b\n\n", ["a b\n\n"], "") == [StepCount(5, estimated=False)]
    assert answer.read(completion(7), "c", [], "c") == []
    assert (answer.pending, answer.totals) == (2, AnswerTotals(9, 4, 7))
    assert answer.end(token=True) == StepCount(2, estimated=False)
    assert (answer.pending, answer.totals) == (0, AnswerTotals(9, 4, 7))


def test_steps_of_one_chunk_share_its_tokens() -> None:
    answer = counts()
    steps = answer.read(completion(22), ONE + TWO + ONE, [ONE, TWO], ONE)
    assert steps == [StepCount(6, estimated=True), StepCount(10, estimated=True)]
    assert answer.end(token=True) == StepCount(6, estimated=True)
    assert answer.totals.completion == 22


def test_after_a_shared_chunk_steps_are_exact_again() -> None:
    answer = counts()
    (first,) = answer.read(completion(9), ONE + "b", [ONE], "b")
    (second,) = answer.read(completion(12), TWO[1:], ["b" + TWO[1:]], "")
    (third,) = answer.read(completion(18), ONE, [ONE], "")
    assert (first.estimated, second.estimated, third) == (True, True, StepCount(6, estimated=False))
    assert first.tokens + second.tokens == 12


@pytest.mark.parametrize("running", [NONE, completion(0), TokenCounts(0, 0, 0)])
def test_a_total_at_the_end_is_given_to_the_last_step(running: TokenCounts) -> None:
    answer = counts()
    assert answer.read(running, ONE, [ONE], "") == [StepCount(6, estimated=True)]
    assert answer.read(running, TWO, [], TWO) == []
    assert answer.totals == AnswerTotals(10, 0, 16, estimated=True)
    answer.read(TokenCounts(50, 40, 19), "", [], TWO)
    assert answer.end(token=True) == StepCount(13, estimated=True)
    assert answer.totals == AnswerTotals(50, 40, 19)


def test_a_total_below_the_estimates_is_corrected() -> None:
    answer = counts()
    answer.read(NONE, ONE + TWO, [ONE, TWO], "")
    answer.read(TokenCounts(9, 0, 12), "", [], "")
    assert answer.end(token=True) == StepCount(0, estimated=True)
    assert answer.totals == AnswerTotals(9, 0, 12)


def test_a_count_that_comes_late_makes_up_for_the_estimates() -> None:
    answer = counts()
    answer.read(NONE, ONE, [ONE], "")
    assert answer.read(completion(20), TWO, [TWO], "") == [StepCount(14, estimated=True)]
    assert answer.read(completion(26), ONE, [ONE], "") == [StepCount(6, estimated=False)]


def test_without_counts_all_is_estimated_and_the_end_is_a_token() -> None:
    answer = counts()
    answer.read(NONE, ONE + TWO, [ONE], TWO)
    assert answer.end(token=True) == StepCount(11, estimated=True)
    assert answer.totals == AnswerTotals(10, 0, 17, estimated=True)


def test_cut_off_the_text_after_the_newest_count_is_estimated() -> None:
    answer = counts()
    answer.read(TokenCounts(9, 0, 1), "", [], "")  # Anthropic's first event
    answer.read(NONE, TWO, [], TWO)
    assert answer.totals == AnswerTotals(9, 0, 11, estimated=True)
    assert answer.pending == 11


def test_log_probabilities_count_until_usage_does() -> None:
    answer = counts()
    answer.read(NONE, "a ", [], "a ", logprobs=1)
    assert answer.read(NONE, "b\n\n", ["a b\n\n"], "", logprobs=2) == [StepCount(3, estimated=False)]
    answer.read(NONE, "c", [], "c", logprobs=1)
    answer.read(completion(6), "", [], "c")
    assert answer.end(token=True) == StepCount(3, estimated=False)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        pytest.param(completion(2000), "2000 completion tokens for 24 bytes", id="more than was asked for"),
        pytest.param(TokenCounts(wrong={"completion": "completion_tokens: nan"}), "nan", id="no number"),
    ],
)
def test_a_total_that_cannot_be_is_not_believed(
    said: TokenCounts, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = AnswerCounts(f"weak model with {problem}", TextCounter(), "", most=100)
    answer.read(said, ONE, [], ONE)
    assert answer.end(token=True) == StepCount(7, estimated=True)
    assert answer.totals.estimated
    assert problem in caplog.text


def test_a_count_that_falls_is_marked() -> None:
    answer = counts()
    answer.read(completion(9), ONE, [], ONE)
    answer.read(completion(4), "", [], ONE)
    assert answer.end(token=True) == StepCount(4, estimated=True)
    assert answer.totals.estimated


def test_a_wrong_count_is_forgiven_once_there_is_a_right_one() -> None:
    answer = counts()
    answer.read(TokenCounts(wrong={"completion": "completion_tokens: -1", "prompt": "prompt_tokens: -1"}), ONE, [], ONE)
    answer.read(TokenCounts(9, None, 5), "", [], ONE)
    assert answer.end(token=True) == StepCount(5, estimated=False)
    assert answer.totals == AnswerTotals(9, 0, 5)


def test_hidden_reasoning_is_counted() -> None:
    answer = counts(most=2000)
    answer.read(TokenCounts(9, None, 1200, reasoning=1190), ONE, [], ONE)
    assert answer.end(token=True) == StepCount(1200, estimated=False)


def test_never_more_cached_tokens_than_prompt_tokens() -> None:
    answer = counts()
    answer.read(TokenCounts(prompt=9), "a", [], "a")
    answer.read(TokenCounts(cached=12), "", [], "a")
    assert answer.prompt == (9, 9)
    assert answer.totals.estimated
    untold = counts()
    untold.read(TokenCounts(cached=12), "a", [], "a")
    assert untold.prompt == (10, 10)


def test_steps_past_the_limit_are_pending() -> None:
    answer = counts()
    first, second = answer.read(completion(20), ONE + ONE + ONE, [ONE, ONE], ONE)
    answer.put_back(second)
    assert first.tokens + answer.pending == answer.totals.completion == 20


def test_whole_answers_teach_how_long_a_token_is() -> None:
    counter = TextCounter()
    answer = counts(counter=counter)
    answer.read(TokenCounts(9, None, 100), "x" * 800, [], "x" * 800)
    answer.learn()
    assert counter.count("x" * 80) == 10
    hidden = counts(counter=counter)
    hidden.read(TokenCounts(9, None, 5000, reasoning=4000), "x" * 80, [], "x" * 80)
    hidden.learn()
    assert counter.count("x" * 80) == 10
