"""Logistic regression against data that follows one."""

from __future__ import annotations

import numpy as np
import pytest

from trim.errors import ConfigError
from trim.scoring.logistic_fit import fit_regression
from trim.stats import sigmoids


def test_it_finds_the_coefficients_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal([0.0, -40.0], [1.0, 10.0], (20_000, 2))
    labels = rng.random(20_000) < sigmoids(x @ np.array([1.5, -0.1]) - 4.0)
    weights, intercept = fit_regression(x, labels)
    assert weights == pytest.approx([1.5, -0.1], rel=0.1)
    assert intercept == pytest.approx(-4.0, rel=0.1)


def test_labels_that_can_be_separated_and_features_without_spread_stay_finite() -> None:
    weights, intercept = fit_regression([[-1.0, 3.0], [-2.0, 3.0], [1.0, 3.0], [2.0, 3.0]], [0, 0, 1, 1])
    assert np.isfinite([*weights, intercept]).all()
    assert weights[0] > 1
    assert weights[1] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("x", "labels", "words"),
    [
        ([[1.0], [2.0]], [1, 1], "both kinds"),
        ([[1.0], [2.0]], [0, 1, 1], "values for"),
        ([1.0, 2.0], [0, 1], "values for"),
    ],
)
def test_what_nothing_can_be_fitted_on_is_refused(x: list[object], labels: list[int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fit_regression(np.array(x), labels)
