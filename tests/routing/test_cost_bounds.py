"""No text has more tokens than its bounds say."""

from __future__ import annotations

from trim.routing.cost_bounds import AROUND, BETWEEN, cost_of, most_of_steps, most_tokens
from trim.types import Message, Price, Question


def test_a_question_has_at_most_as_many_tokens_as_bytes_and_what_stands_around_them() -> None:
    question = Question("é?", messages=(Message("system", "abc"), Message("user", "d")))
    assert most_tokens(question) == 3 + 3 + 1 + 4 * AROUND


def test_a_step_has_a_token_for_each_byte_at_most_and_its_mark() -> None:
    assert most_of_steps(("a", "ü")) == 1 + 2 + 2 * BETWEEN


def test_a_price_that_is_not_known_counts_nothing() -> None:
    assert cost_of(Price(2.0, 3.0), prompt=1_000_000, completion=2_000_000) == 8.0
    assert cost_of(Price(None, 3.0), prompt=1_000_000) == 0.0
