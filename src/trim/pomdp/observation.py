"""The observation model: P(min of previous scores, current score | hidden state), tabulated in bins.

Three ways to get one: `ObservationBins.from_json` reads bins, `reflected_kde` is the paper's density, and
`quantile_bins` is ours, which predicts held-out scores better (docs/log.md). Points are (min of previous scores,
current score); a first step has 1 for the former.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trim.errors import ConfigError
from trim.json_files import read_json

FloatArray = NDArray[np.float64]
Table = list[list[list[float]]]  # [bin of the min][bin of the score][state]

STATES = ("CORRECT", "RECOVERABLE", "LOST")
"""All steps correct; the newest step the first wrong one; an earlier step wrong (paper: S0, S2, S1). Beliefs and tables
have this order.
"""

_BACK_OFF = 0.02  # probability of a min at which P(score | min, state) counts as much as P(score | state)
_LEAST_BANDWIDTH = 0.01


@dataclass(frozen=True, eq=False)
class ObservationBins:
    """A probability table over bins of [0, 1] x [0, 1] for each state.

    Args:
        minimum_edges: A + 1 rising edges from 0 to 1 for the min of the previous scores.
        score_edges: B + 1 rising edges from 0 to 1 for the current score.
        mass: shape (3, A, B), states in the order of `STATES`; each state's table sums to 1.

    With A = 1 the current score is independent of the previous ones given the state.

    Raises:
        ConfigError: edges or tables that do not fit this description.
    """

    minimum_edges: FloatArray
    score_edges: FloatArray
    mass: FloatArray

    def __post_init__(self) -> None:
        arrays = {"minimum_edges": self.minimum_edges, "score_edges": self.score_edges, "mass": self.mass}
        for name, array in arrays.items():
            object.__setattr__(self, name, np.array(array, dtype=float))  # a copy, which is not changed elsewhere
        for name, edges in (("minimum_edges", self.minimum_edges), ("score_edges", self.score_edges)):
            if edges.ndim != 1 or len(edges) < 2 or edges[0] != 0 or edges[-1] != 1 or np.any(np.diff(edges) <= 0):
                raise ConfigError(f"observation bins: {name} must rise from 0 to 1, not {edges}")
        shape = (len(STATES), len(self.minimum_edges) - 1, len(self.score_edges) - 1)
        if self.mass.shape != shape:
            raise ConfigError(f"observation bins: mass must have shape {shape}, not {self.mass.shape}")
        sums = self.mass.sum(axis=(1, 2))
        if not (np.all(self.mass >= 0) and np.all(np.abs(sums - 1) < 1e-6)):
            raise ConfigError(f"observation bins: each state's mass must be non-negative and sum to 1, not to {sums}")

    @classmethod
    def from_json(cls, path: str | Path) -> ObservationBins:
        """Read `{"bin_centers": [[min, score], ...], "CORRECT": [mass, ...], "RECOVERABLE": ..., "LOST": ...}`.

        Bins are those of a regular n x n grid, in any order.

        Raises:
            ConfigError: the file cannot be read or has another layout.
        """
        try:
            data = read_json(Path(path))
            centers = np.array(data["bin_centers"], dtype=float)
            tables = np.array([data[state] for state in STATES], dtype=float)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise ConfigError.reading(path, "not a table of observation bins", error) from None
        side = math.isqrt(len(centers))
        cells = np.rint(centers * side - 0.5).astype(int)
        number = cells @ np.array([side, 1]) if centers.shape == (side * side, 2) else np.array([])
        if not np.array_equal(np.sort(number), np.arange(side * side)) or tables.shape[1] != side * side:
            raise ConfigError(f"{path}: bin_centers must be the centers of a regular n x n grid over [0, 1]")
        mass = np.empty_like(tables)
        mass[:, number] = tables / tables.sum(axis=1, keepdims=True)
        edges = np.linspace(0.0, 1.0, side + 1)
        return cls(edges, edges, mass.reshape(len(STATES), side, side))

    def scores_only(self) -> ObservationBins:
        """The same distribution of the current score, summed over the min of previous ones."""
        return ObservationBins(np.array([0.0, 1.0]), self.score_edges, self.mass.sum(axis=1, keepdims=True))

    def pair_likelihood(self, minimum: float, score: float) -> list[float]:
        """P(min, score | state) for the three states: the likelihood of a pair on its own."""
        return self._pairs[bisect_right(self._inner_minimum, minimum)][bisect_right(self._inner_score, score)]

    def score_likelihood(self, minimum: float, score: float, weight: float = 1.0) -> list[float]:
        """P(score | min, state) for the three states: the likelihood of the newest score, given the previous ones.

        Where a state hardly ever has such a min, its table is not reliable: P(score | min, state) is shrunk towards
        P(score | state) with the weight of a probability of 0.02, and that a little towards equal bins, so that no
        single score rules a state out. `weight` is an exponent on the likelihoods.
        """
        table = self._given_min if weight == 1.0 else self._raised(weight)
        return table[bisect_right(self._inner_minimum, minimum)][bisect_right(self._inner_score, score)]

    def score_likelihoods(self, points: FloatArray) -> FloatArray:
        """`score_likelihood` of pairs (min, score), shape (n, 2); shape (n, 3)."""
        row = np.searchsorted(self._inner_minimum, points[:, 0], side="right")
        column = np.searchsorted(self._inner_score, points[:, 1], side="right")
        found: FloatArray = np.array(self._given_min)[row, column]
        return found

    def _raised(self, weight: float) -> Table:
        if weight not in self._powers:
            self._powers[weight] = (np.array(self._given_min) ** weight).tolist()
        return self._powers[weight]

    @cached_property
    def _powers(self) -> dict[float, Table]:
        return {}

    @cached_property
    def _inner_minimum(self) -> list[float]:
        return [float(edge) for edge in self.minimum_edges[1:-1]]

    @cached_property
    def _inner_score(self) -> list[float]:
        return [float(edge) for edge in self.score_edges[1:-1]]

    @cached_property
    def _pairs(self) -> Table:
        table: Table = np.moveaxis(self.mass, 0, -1).tolist()
        return table

    @cached_property
    def _given_min(self) -> Table:
        score = self.mass.sum(axis=1, keepdims=True)
        marginal = (1 - _BACK_OFF / 2) * score + _BACK_OFF / 2 / score.shape[-1]
        given = (self.mass + _BACK_OFF * marginal) / (self.mass.sum(axis=2, keepdims=True) + _BACK_OFF)
        table: Table = np.moveaxis(given, 0, -1).tolist()
        return table


def read_points(path: str | Path) -> dict[str, FloatArray]:
    """Read `{state: [[min of previous scores, current score], ...]}` for the three states; see `_points` for errors."""
    try:
        data = read_json(Path(path))
        return _points({state: data[state] for state in STATES})
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ConfigError.reading(path, "not a file of observation points", error) from None


def reflected_kde(
    points: Mapping[str, ArrayLike], *, bins: int = 20, bandwidth: float | None = None
) -> ObservationBins:
    """The paper's observation model: a Gaussian kernel density per state, reflected at the borders of [0, 1]^2.

    Its mass in each of bins x bins cells is the exact integral. A product kernel; the bandwidth of each axis is
    Scott's, sigma n^(-1/6), but at least 0.01, so that constant points do no harm.

    Args:
        points: per state an array of shape (n, 2).
        bins: cells per axis.
        bandwidth: the same for both axes instead of Scott's.

    Raises:
        ConfigError: a state is missing or has no points, or points lie outside [0, 1].
    """
    edges = np.linspace(0.0, 1.0, bins + 1)

    def cells(values: FloatArray) -> FloatArray:
        scott = float(values.std()) * len(values) ** (-1 / 6) if bandwidth is None else bandwidth
        distance = [
            (edges - center[:, None]) / max(scott, _LEAST_BANDWIDTH) for center in (values, -values, 2 - values)
        ]
        mass = np.diff(_normal_cdf(np.stack(distance)), axis=-1).sum(axis=0)
        # Images further out than the first reflections hold what is missing to 1.
        normal: FloatArray = mass / mass.sum(axis=1, keepdims=True)
        return normal

    tables = [cells(p[:, 0]).T @ cells(p[:, 1]) / len(p) for p in _points(points).values()]
    return ObservationBins(edges, edges, np.stack(tables))


def quantile_bins(
    points: Mapping[str, ArrayLike],
    *,
    minimum_bins: int = 8,
    score_bins: int = 48,
    reach: int = 8,
    pseudo_counts: float = 60.0,
) -> ObservationBins:
    """Our observation model: counts in bins of equal weight, shrunk towards independence of min and score.

    Scores of a process reward model crowd at 0 and 1, where a density with one bandwidth blurs the difference between
    the states. Edges are quantiles of the points with each state weighted equally; bins that would be empty are merged.
    Counts are spread over neighbouring score bins with a triangular kernel of `reach` bins: a density whose bandwidth
    is a share of the points, and so narrow where they crowd.
    P(min, score | s) = (count + k P(min | s) P(score | s)) / (n + k) with k = `pseudo_counts`, and one pseudo-count
    for the two margins.

    Raises:
        ConfigError: as for `reflected_kde`.
    """
    checked = _points(points)
    weight = np.concatenate([np.full(len(p), 1 / len(p)) for p in checked.values()])
    together = np.concatenate(list(checked.values()))
    rows, columns = _quantiles(together[:, 0], weight, minimum_bins), _quantiles(together[:, 1], weight, score_bins)
    number = np.arange(len(columns) - 1)
    kernel = np.maximum(max(reach, 1) - np.abs(number[:, None] - number), 0)
    spread = kernel / kernel.sum(axis=1, keepdims=True)
    tables = []
    for p in checked.values():
        counts = np.histogram2d(p[:, 0], p[:, 1], bins=(rows, columns))[0] @ spread
        margins = [(counts.sum(axis=1 - axis) + np.diff(e)) / (len(p) + 1) for axis, e in enumerate((rows, columns))]
        tables.append((counts + pseudo_counts * np.outer(*margins)) / (len(p) + pseudo_counts))
    return ObservationBins(rows, columns, np.stack(tables))


def _points(points: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    checked = {}
    for state in STATES:
        values = np.asarray(points.get(state, ()), dtype=float)
        if values.ndim != 2 or values.shape[1:] != (2,) or not np.all((values >= 0) & (values <= 1)):
            raise ConfigError(
                f"observation points: {state} needs at least one pair (min of previous scores, score) in [0, 1], "
                f"not an array of shape {values.shape}"
            )
        checked[state] = values
    return checked


def _quantiles(values: FloatArray, weight: FloatArray, bins: int) -> FloatArray:
    order = np.argsort(values)
    share = np.cumsum(weight[order]) / weight.sum()
    inner = values[order][np.searchsorted(share, np.arange(1, bins) / bins)]
    return np.concatenate([[0.0], np.unique(inner[(inner > 0) & (inner < 1)]), [1.0]])


def _normal_cdf(z: FloatArray) -> FloatArray:
    erf = np.frompyfunc(math.erf, 1, 1)
    return np.asarray(0.5 * (1 + erf(z / math.sqrt(2))), dtype=float)
