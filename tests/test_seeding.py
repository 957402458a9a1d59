"""Numbers that must never change: decisions and recorded solutions depend on them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.errors import ConfigError
from trim.seeding import Draws, digest, request_seed, sample_seed, sample_seeds, uniform, uniform_of
from trim.types import Role


def test_the_numbers_are_those_of_earlier_versions() -> None:
    assert uniform(7, "What is 2 + 3?", 0, 1) == 0.3604830697252721
    assert uniform("mark", 0, "q", Role.WEAK, 3) == 0.8679726595789995
    assert request_seed(7, 0, 1, "What is 2 + 3?") == 852779724
    assert uniform_of(digest(7, "weak", 0, 0, "q") + (5).to_bytes(4, "big")) == 0.26521247553818317


@given(st.lists(st.text() | st.integers(), min_size=1))
def test_draws_lie_in_their_range_and_repeat(parts: list[object]) -> None:
    assert 0.0 <= uniform(*parts) == uniform(*parts) < 1.0
    assert 0 <= request_seed(*parts) < 2**31


def test_draws_are_uniform() -> None:
    draws = sorted(uniform("even", n) for n in range(4000))
    assert all(abs(draw - n / 4000) < 0.03 for n, draw in enumerate(draws))  # Kolmogorov's bound at p = 0.001


def test_text_that_is_not_utf8_has_a_number_too() -> None:
    assert uniform("\ud800") == uniform("?")


def test_samples_have_seeds_of_their_own() -> None:
    assert sample_seeds(5, 3) == (5, 1_000_000_012, 2_000_000_019)
    assert sample_seed(5, 2, stride=1_000_003) == 2_000_011
    with pytest.raises(ConfigError, match="64 bits"):
        sample_seeds(2**63 - 1, 1)


@given(st.lists(st.text() | st.integers(), min_size=1), st.lists(st.text() | st.integers(), min_size=1))
def test_what_draws_have_in_common_is_hashed_once(first: list[object], rest: list[object]) -> None:
    draws = Draws(*first)
    assert draws.uniform(*rest) == draws.uniform(*rest) == uniform(*first, *rest)
