"""Estimates with 95% confidence intervals: proportions, means, the bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, isfinite, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Indices = NDArray[np.intp]

NORMAL_975 = 1.959963984540054
"""97.5% point of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% confidence interval and the number of observations behind it.

    Infinity and nan stand for what was not reached or is not defined; they are null in JSON.
    """

    value: float
    low: float
    high: float
    count: int

    @property
    def json_value(self) -> float | None:
        """The value as it stands in JSON."""
        return _json(self.value)

    @property
    def json_interval(self) -> list[float | None]:
        """Both ends of the interval as they stand in JSON."""
        return [_json(self.low), _json(self.high)]


def _json(value: float) -> float | None:
    return value if isfinite(value) else None


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)) without overflow."""
    return 1.0 / (1.0 + exp(-x)) if x >= 0 else exp(x) / (1.0 + exp(x))


def sigmoids(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)) of each element. Overflow warns below about -709: clip where that may come."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def resamples(count: int, draws: int, rng: np.random.Generator) -> Iterator[Indices]:
    """Bootstrap resamples: `draws` times as many indices as there are observations, with replacement."""
    return (rng.integers(0, count, count) for _ in range(draws))


def from_resamples(
    value: float, drawn: Sequence[float] | FloatArray, count: int, *, method: Literal["linear", "nearest"] = "linear"
) -> Estimate:
    """A figure with the 95% percentile interval of what resamples gave; nan is left out.

    Args:
        value: of all observations.
        drawn: of each resample.
        count: observations.
        method: `nearest` takes ends that were drawn, as infinite ones cannot be interpolated.
    """
    low, high = np.nanpercentile(drawn, (2.5, 97.5), method=method)
    return Estimate(float(value), float(low), float(high), count)


def bootstrap(
    figure: Callable[[Indices], float], observations: int, *, draws: int, count: int | None = None
) -> Estimate:
    """A figure of some observations with its 95% percentile interval. Repeatable: the resamples are always the same.

    Args:
        figure: computes it from the observations with these indices; some may be there several times.
        observations: how many there are to resample.
        draws: resamples.
        count: for `Estimate.count`, where that is something else.
    """
    drawn = [figure(chosen) for chosen in resamples(observations, draws, np.random.default_rng(0))]
    return from_resamples(figure(np.arange(observations)), drawn, observations if count is None else count)


def wilson(right: float, count: float) -> tuple[float, float]:
    """95% interval of a proportion (Wilson score)."""
    if count == 0:
        return 0.0, 1.0
    p, z2 = right / count, NORMAL_975**2
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = NORMAL_975 * sqrt(max(p * (1 - p) / count + z2 / (4 * count * count), 0.0)) / (1 + z2 / count)
    # At the ends the bound is exact; the formula misses it by a rounding error.
    return (0.0 if right == 0 else centre - half), (1.0 if right == count else centre + half)


def proportion(outcomes: Sequence[int], groups: Sequence[str]) -> Estimate:
    """A proportion over observations of which those of one group (a question's steps) may be correlated.

    Wilson's interval for as many independent observations as the spread between groups leaves: the count over the
    design effect (Kish), which is taken to be at least 1.

    Raises:
        ValueError: no observations.
    """
    values, count = np.asarray(outcomes, float), len(outcomes)
    p = _mean(values)
    plain = p * (1 - p) / count
    effective = count / max(_variance(values, p, groups) / plain, 1.0) if plain else count
    low, high = wilson(p * effective if plain else round(p * count), effective)
    return Estimate(p, low, high, count)


def mean(values: Sequence[float] | FloatArray, groups: Sequence[str]) -> Estimate:
    """A mean of grouped observations with its normal interval.

    Raises:
        ValueError: no observations.
    """
    numbers = np.asarray(values, float)
    centre = _mean(numbers)
    half = NORMAL_975 * sqrt(_variance(numbers, centre, groups))
    return Estimate(centre, centre - half, centre + half, len(numbers))


def _mean(values: FloatArray) -> float:
    if len(values) == 0:
        raise ValueError("nothing was observed")
    return float(values.mean())


def _variance(values: FloatArray, centre: float, groups: Sequence[str]) -> float:
    """Variance of the mean, observations of different groups being independent (ratio estimator)."""
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(group, values - centre)
    return float((sums**2).sum()) / len(values) ** 2
