"""Resampled means of questions stay what means can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trim.metrics.question_bootstrap import resampled_means
from trim.metrics.tally import Tally


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 50))
def test_resampled_means_stay_within_the_outcomes(right: list[bool], draws: int) -> None:
    tally = Tally([str(i) for i in range(len(right))], [*map(int, right)], [1.0] * len(right), [1.0] * len(right))
    means = resampled_means([tally], draws)
    assert means.right.shape == (draws + 1, 1)
    assert means.right[0, 0] == pytest.approx(np.mean(right))
    assert means.right.min() >= min(right) - 1e-12
    assert means.right.max() <= max(right) + 1e-12
