"""Intervals: where they must lie, and that their coverage is the nominal one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.stats import bootstrap, from_resamples, mean, proportion, resamples, sigmoid, sigmoids, wilson

outcomes = st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef")), min_size=1, max_size=60)


@given(outcomes)
def test_a_proportion_lies_in_its_interval(observed: list[tuple[bool, str]]) -> None:
    found = proportion([right for right, _ in observed], [group for _, group in observed])
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    plain = wilson(sum(right for right, _ in observed), len(observed))
    assert found.high - found.low >= plain[1] - plain[0] - 1e-9
    assert found.count == len(observed)


@pytest.mark.parametrize("together", [False, True])
def test_intervals_cover_the_truth(together: bool) -> None:
    """80 groups of 5; where `together`, all five of a group are the same: then only the groups count."""
    rng = np.random.default_rng(0)
    groups = [str(n // 5) for n in range(400)]
    held = {"proportion": 0, "mean": 0}
    for _ in range(300):
        draws = np.repeat(rng.random(80), 5) if together else rng.random(400)
        shares, means = proportion((draws < 0.8).tolist(), groups), mean(draws, groups)
        held["proportion"] += shares.low <= 0.8 <= shares.high
        held["mean"] += means.low <= 0.5 <= means.high
    assert all(0.91 <= count / 300 <= 0.985 for count in held.values()), held


def test_nothing_observed_is_an_error() -> None:
    for of in (proportion, mean):
        with pytest.raises(ValueError, match="nothing"):
            of([], [])


def test_the_bootstrap_covers_the_truth_and_repeats() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        values = rng.random(60)
        found = bootstrap(lambda chosen: float(values[chosen].mean()), 60, draws=400)  # noqa: B023 - called at once
        held += found.low <= 0.5 <= found.high
        assert found.value == values.mean()
    assert 0.89 <= held / 200 <= 0.99
    assert found == bootstrap(lambda chosen: float(values[chosen].mean()), 60, draws=400)
    assert found.count == 60


def test_resamples_draw_with_replacement() -> None:
    drawn = np.stack(list(resamples(7, 500, np.random.default_rng(0))))
    assert drawn.shape == (500, 7)
    assert set(np.unique(drawn)) == set(range(7))
    assert any(len(set(row)) < 7 for row in drawn)


def test_what_was_not_reached_is_null_in_json() -> None:
    drawn = [0.1] * 20 + [np.inf] * 10
    found = from_resamples(np.inf, drawn, 30, method="nearest")
    assert (found.json_value, found.json_interval) == (None, [0.1, None])
    assert from_resamples(0.1, [0.1, float("nan"), 0.3], 3).json_interval == pytest.approx([0.105, 0.295])


@given(st.floats(-800, 800))
def test_both_sigmoids_agree(x: float) -> None:
    assert 0.0 <= sigmoid(x) <= 1.0
    assert sigmoid(x) + sigmoid(-x) == pytest.approx(1.0)
    if abs(x) < 700:
        assert sigmoids(np.array([x]))[0] == pytest.approx(sigmoid(x))
