"""How many completion tokens are asked for."""

from __future__ import annotations

import pytest

from trim.backends.token_counter import TokenCounter
from trim.backends.token_counts import TextCounter
from trim.backends.token_limits import TokenLimits
from trim.errors import InputTooLong, OutputTooLong

PROMPT = "one two three four five six seven eight nine ten"


@pytest.fixture
def exact(counter: TokenCounter) -> TokenLimits:
    return TokenLimits("m", TextCounter(counter), None, exact=True)


def test_what_is_wanted_is_asked_for_until_more_is_known(exact: TokenLimits) -> None:
    assert exact.fitting(PROMPT, 500) == 500
    assert exact.fewer(InputTooLong("m", "too long", limit=100, prompt=10), PROMPT, 500) == 90
    assert exact.fitting(PROMPT, 500) == 90
    assert exact.fitting(PROMPT, 50) == 50
    assert exact.fewer(OutputTooLong("m", "too many", limit=20), PROMPT, 50) == 20
    assert exact.fitting(PROMPT, 500) == 20


def test_a_prompt_that_fills_the_context_is_refused_here(exact: TokenLimits) -> None:
    assert exact.fewer(InputTooLong("m", "too long", limit=10), PROMPT, 500) is None
    with pytest.raises(InputTooLong, match="the prompt has 10 tokens, the context 10") as raised:
        exact.fitting(PROMPT, 500)
    assert (raised.value.limit, raised.value.prompt) == (10, 10)


def test_an_estimate_of_the_prompt_rules_nothing_out() -> None:
    limits = TokenLimits("m", TextCounter(), 5, exact=False)
    assert limits.fitting(PROMPT, 500) == 1
    assert limits.fewer(InputTooLong("m", "too long", limit=5), PROMPT, 500) == 1
    assert limits.fewer(InputTooLong("m", "too long", limit=5, prompt=7), PROMPT, 500) is None


def test_without_numbers_a_quarter_is_tried_once(exact: TokenLimits) -> None:
    assert exact.fewer(InputTooLong("m", "reduce the length"), PROMPT, 400) == 100
    assert exact.fewer(OutputTooLong("m", "too many"), PROMPT, 400) == 100
    assert exact.fewer(InputTooLong("m", "reduce the length"), PROMPT, 1) is None
    assert exact.fewer(InputTooLong("m", "too long", limit=100, prompt=50), PROMPT, 50) is None
