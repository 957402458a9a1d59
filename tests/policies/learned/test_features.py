"""What the learned policies see, number by number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.errors import ConfigError
from trim.policies.learned.features import (
    OURS,
    PAPER,
    RELEASED,
    STEPWISE,
    WITH_RESAMPLE,
    Aggregate,
    PriceRange,
    Stepwise,
)
from trim.types import Action, Observation

PRICES = PriceRange(1e-4, 1e-2)
SEEN = Observation(
    scores=(0.9, 0.8, 0.3),
    tokens=(30, 60, 90),
    actions=(Action.CONTINUE, Action.REGENERATE),
    final=True,
    drafts=2,
    draft_scores=((0.9,), (0.2, 0.1), (0.4, 0.3)),
)


def test_aggregate_features_are_the_papers_and_ours() -> None:
    found = Aggregate(WITH_RESAMPLE).read(SEEN, 0.25)
    wanted = [0.3, 0.8, 0.3, 0.1, 0.72, 1.0, 0.4, 0.5, 0.25]
    assert found == pytest.approx(wanted)
    assert Aggregate(PAPER).read(SEEN, 0.25) == pytest.approx([0.3, 0.8, 0.3, 0.1, 0.25])
    assert set(PAPER) < set(RELEASED) < set(OURS) < set(WITH_RESAMPLE)


def test_the_first_step_has_neutral_features_of_the_past() -> None:
    found = Aggregate().read(Observation(scores=(0.4,), tokens=(60,)), -1.0)
    assert found == pytest.approx([0.4, 1.0, 0.2, 1 / 30, 1.0, 0.0, -1.0])


def test_every_step_has_a_row() -> None:
    found = Stepwise().read(SEEN, 0.25)
    assert found.shape == (3, len(STEPWISE) + 1)
    assert found[0] == pytest.approx([0.9, 0.9, 0.9, 0.1, 0, 1 / 30, 0, 0.25, 0.25])
    assert found[1] == pytest.approx([0.8, 0.1, 0.2, 0.2, 1, 2 / 30, 0, 0.5, 0.25])
    assert found[2] == pytest.approx([0.3, 0.3, 0.4, 0.3, 0, 0.1, 1, 0.5, 0.25])


@given(st.floats(0, 1))
def test_prices_are_scaled_in_logarithms(share: float) -> None:
    assert math.isclose(PRICES.scaled(PRICES.at(share)), 2 * share - 1, abs_tol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5, 11])
def test_a_grid_stays_in_the_range(count: int) -> None:
    grid = PriceRange(3.33e-5, 8.33e-3).grid(count)
    assert len(set(grid)) == count
    assert list(grid) == sorted(grid)
    assert all(-1 <= PriceRange(3.33e-5, 8.33e-3).scaled(price) <= 1 for price in grid)


def test_unknown_features_and_untrained_prices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"from 0\.0001 to 0\.01 .* not 0\.02"):
        PRICES.scaled(0.02)
    for low, high in ((0.0, 1.0), (1.0, 0.5), (1e-3, float("inf")), (float("nan"), 1.0)):
        with pytest.raises(ConfigError, match="range of prices"):
            PriceRange(low, high)
    with pytest.raises(ConfigError, match="unknown features tokens/400; there are score"):
        Aggregate(("score", "tokens/400"))
    with pytest.raises(ConfigError, match="features of a step"):
        Stepwise(("score",))


def test_vectors_are_small_numbers() -> None:
    assert Aggregate().read(SEEN, 0.0).dtype == Stepwise().read(SEEN, 0.0).dtype == np.float32
