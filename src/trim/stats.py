"""How sure a figure is: 95% intervals of proportions and means, also where observations come in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

_Z = 1.959963984540054  # 97.5% point of the normal distribution


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% interval and the number of observations behind it."""

    value: float
    low: float
    high: float
    count: int


def wilson(right: float, count: float) -> tuple[float, float]:
    """95% interval of a proportion (Wilson score)."""
    if count == 0:
        return 0.0, 1.0
    p, z2 = right / count, _Z * _Z
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * sqrt(max(p * (1 - p) / count + z2 / (4 * count * count), 0.0)) / (1 + z2 / count)
    # At the ends the bound is exact; the formula misses it by a rounding error.
    return (0.0 if right == 0 else centre - half), (1.0 if right == count else centre + half)


def proportion(outcomes: Sequence[int], groups: Sequence[str]) -> Estimate:
    """A proportion over observations of which those of one group (a question's steps) may hang together.

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


def mean(values: Sequence[float] | NDArray[np.float64], groups: Sequence[str]) -> Estimate:
    """A mean of grouped observations with its normal interval.

    Raises:
        ValueError: no observations.
    """
    numbers = np.asarray(values, float)
    centre = _mean(numbers)
    half = _Z * sqrt(_variance(numbers, centre, groups))
    return Estimate(centre, centre - half, centre + half, len(numbers))


def _mean(values: NDArray[np.float64]) -> float:
    if len(values) == 0:
        raise ValueError("nothing was observed")
    return float(values.mean())


def _variance(values: NDArray[np.float64], centre: float, groups: Sequence[str]) -> float:
    """Variance of the mean, observations of different groups being independent (ratio estimator)."""
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(group, values - centre)
    return float((sums**2).sum()) / len(values) ** 2
