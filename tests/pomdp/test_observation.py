"""Observation models: what they sum to, what they survive, which one predicts better."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.published_instance import FOLDER
from tests.pomdp.instances import needs_calibration
from trim.errors import ConfigError
from trim.pomdp import STATES, ObservationBins, quantile_bins, read_points, reflected_kde

clouds = st.integers(1, 30).flatmap(lambda n: arrays(float, (n, 2), elements=st.floats(0, 1)))
points_of = st.fixed_dictionaries(dict.fromkeys(STATES, clouds))


@settings(deadline=None, max_examples=50)
@given(points_of, st.integers(1, 12))
def test_any_points_give_a_distribution(points: dict[str, np.ndarray], bins: int) -> None:
    for model in (reflected_kde(points, bins=bins), quantile_bins(points, minimum_bins=bins, score_bins=bins)):
        assert np.allclose(model.mass.sum(axis=(1, 2)), 1.0)
        assert np.all(model.mass >= 0)
        for minimum, score in ((0.0, 0.0), (1.0, 1.0), (0.3, 0.7)):
            given_min = model.score_likelihood(minimum, score)
            assert len(given_min) == 3
            assert all(0 < p <= 1 for p in given_min)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_points_put_their_mass_where_they_are(value: float) -> None:
    points = dict.fromkeys(STATES, np.full((7, 2), value))
    kde = reflected_kde(points, bins=5)
    at = min(int(value * 5), 4)
    assert kde.mass[0, at, at] > 0.99
    assert quantile_bins(points).mass.sum() == pytest.approx(3.0)


def test_the_density_is_the_integral_of_reflected_kernels() -> None:
    """Against a sum on a fine grid, bandwidth and reflection written out."""
    rng = np.random.default_rng(1)
    cloud = rng.beta(2, 1, (40, 2))
    ours = reflected_kde(dict.fromkeys(STATES, cloud), bins=4, bandwidth=0.15).mass[0]
    fine = (np.arange(400) + 0.5) / 400

    def kernel(values: np.ndarray) -> np.ndarray:
        images = np.stack([values, -values, 2 - values])[..., None]
        return np.asarray(np.exp(-0.5 * ((fine - images) / 0.15) ** 2).sum(axis=0))

    density = kernel(cloud[:, 0]).T @ kernel(cloud[:, 1])
    expected = density.reshape(4, 100, 4, 100).sum(axis=(1, 3)) / density.sum()
    assert np.allclose(ours, expected, atol=1e-4)


def test_the_newest_score_given_the_min_is_a_distribution_over_scores() -> None:
    rng = np.random.default_rng(2)
    model = quantile_bins({state: rng.beta(1, 1 + i, (50, 2)) for i, state in enumerate(STATES)})
    middles = (model.score_edges[1:] + model.score_edges[:-1]) / 2
    for minimum in (0.0, 0.2, 0.9, 1.0):
        sums = np.sum([model.score_likelihood(minimum, score) for score in middles], axis=0)
        assert sums == pytest.approx(np.ones(3))


def test_with_one_row_the_pair_and_the_score_are_the_same_evidence() -> None:
    rng = np.random.default_rng(3)
    model = quantile_bins({state: rng.random((50, 2)) for state in STATES}).scores_only()
    assert model.mass.shape[1] == 1
    for score in (0.0, 0.4, 1.0):
        assert model.score_likelihood(0.1, score) == model.score_likelihood(0.9, score)
        assert model.pair_likelihood(0.1, score) == pytest.approx(model.score_likelihood(0.1, score), rel=0.05)


def test_bins_are_read_in_any_order(tmp_path: Path) -> None:
    centers = [[0.75, 0.25], [0.25, 0.25], [0.25, 0.75], [0.75, 0.75]]
    table = {"bin_centers": centers, **{state: [0.3, 0.1, 0.2, 0.4] for state in STATES}}
    path = tmp_path / "bins.json"
    path.write_text(json.dumps(table))
    assert ObservationBins.from_json(path).mass[0].tolist() == [[0.1, 0.2], [0.3, 0.4]]
    for broken in (
        {**table, "LOST": [1.0]},
        {**table, "bin_centers": centers[:3]},
        {**table, "bin_centers": [[0.1, 0.1]] * 4},
        {state: table[state] for state in STATES},
        {**table, "LOST": ["a"] * 4},
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(ConfigError, match=r"bins\.json"):
            ObservationBins.from_json(path)
    with pytest.raises(ConfigError, match=r"absent\.json"):
        ObservationBins.from_json(tmp_path / "absent.json")


def test_wrong_tables_are_refused() -> None:
    edges, mass = np.array([0, 0.5, 1]), np.full((3, 2, 2), 0.25)
    for wrong in (
        (edges[:-1], edges, mass),
        (edges, edges[::-1], mass),
        (edges, edges, mass[:2]),
        (edges, edges, mass * 2),
        (edges, edges, mass * np.nan),
    ):
        with pytest.raises(ConfigError, match="observation bins"):
            ObservationBins(*wrong)


@pytest.mark.parametrize("cloud", [[], [[0.5]], [[0.5, 1.5]], [[float("nan"), 0.5]]])
def test_wrong_points_are_refused(cloud: list[list[float]]) -> None:
    points = {"CORRECT": [[0.5, 0.5]], "RECOVERABLE": [[0.5, 0.5]], "LOST": cloud}
    for fit in (reflected_kde, quantile_bins):
        with pytest.raises(ConfigError, match="LOST"):
            fit(points)


@needs_calibration
def test_our_density_is_close_to_the_published_bins() -> None:
    ours = reflected_kde(read_points(FOLDER / "prm_observations_math.json"))
    theirs = ObservationBins.from_json(FOLDER / "prm_observation_bins_math.json")
    difference = np.abs(ours.mass - theirs.mass).sum(axis=(1, 2)) / 2
    assert np.all(difference < 0.15)  # a product kernel instead of a rotated one
