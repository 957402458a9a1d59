"""Figures of a curve: accuracy or PGR against strong share. Pure functions on arrays.

Arrays have shape (D, P): D versions of a curve (the measured one and its resamples), P points each. A curve's points
are sorted by share within each version first (`by_share`). Figures have shape (D,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Strong shares c and values at them, shape (D, P), shares rising along P."""

    share: FloatArray
    value: FloatArray


def by_share(share: FloatArray, value: FloatArray) -> Curve:
    """The points of each version in the order of their shares."""
    order = np.argsort(share, axis=1, kind="stable")
    return Curve(np.take_along_axis(share, order, 1), np.take_along_axis(value, order, 1))


def at_share(curve: Curve, share: float) -> FloatArray:
    """The value at a strong share: that of the mixture of the two neighbouring points that spends it on average.

    Beyond the ends of the curve the value of the end.
    """
    after = np.clip((curve.share < share).sum(axis=1), 1, max(1, curve.share.shape[1] - 1))
    if curve.share.shape[1] == 1:
        return curve.value[:, 0]
    rows = np.arange(len(after))
    low, high = curve.share[rows, after - 1], curve.share[rows, after]
    weight = np.clip((share - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    below, above = curve.value[rows, after - 1], curve.value[rows, after]
    return np.asarray(below + weight * (above - below))
