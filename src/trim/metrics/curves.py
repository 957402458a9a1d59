"""Figures of a curve: accuracy or PGR against strong share. Pure functions on arrays.

Arrays have shape (D, P): D versions of a curve (the measured one and its resamples), P points each. A curve's points
are sorted by share within each version first (`by_share`). Figures have shape (D,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trim.stats import FloatArray


@dataclass(frozen=True, eq=False)
class Curve:
    """Strong shares c and values at them, shape (D, P), shares rising along P."""

    share: FloatArray
    value: FloatArray


def by_share(share: FloatArray, value: FloatArray) -> Curve:
    """The points of each version in the order of their shares."""
    order = np.argsort(share, axis=1, kind="stable")
    return Curve(np.take_along_axis(share, order, 1), np.take_along_axis(value, order, 1))


def at_share(curve: Curve, share: float | FloatArray) -> FloatArray:
    """The value at a strong share (one for all versions, or one each): that of the mixture of the two neighbouring
    points that spends it on average. Beyond the ends of the curve the value of the end.
    """
    wanted = np.broadcast_to(share, curve.share[:, 0].shape)
    if curve.share.shape[1] == 1:
        return curve.value[:, 0]
    after = np.clip((curve.share < wanted[:, None]).sum(axis=1), 1, curve.share.shape[1] - 1)
    rows = np.arange(len(after))
    low, high = curve.share[rows, after - 1], curve.share[rows, after]
    weight = np.clip((wanted - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    below, above = curve.value[rows, after - 1], curve.value[rows, after]
    return np.asarray(below + weight * (above - below))


def reach(curve: Curve, target: float) -> FloatArray:
    """The smallest share whose value reaches the target, between two points linearly; inf where none reaches it."""
    first, rows = np.argmax(curve.value >= target, axis=1), np.arange(len(curve.value))
    before = np.maximum(first - 1, 0)
    low, high = curve.value[rows, before], curve.value[rows, first]
    weight = np.where(first > 0, (target - low) / np.where(high > low, high - low, 1.0), 1.0)
    share = curve.share[rows, before] + weight * (curve.share[rows, first] - curve.share[rows, before])
    return np.where(high >= target, share, np.inf)


def first_reaching(curve: Curve, target: float) -> FloatArray:
    """The smallest share of a point that reaches the target; inf where none does."""
    return np.min(np.where(curve.value >= target, curve.share, np.inf), axis=1)  # type: ignore[no-any-return]


def best_within(curve: Curve, share: float) -> FloatArray:
    """The best value at this share or less, mixtures of neighbouring points included."""
    affordable = np.where(curve.share <= share, curve.value, -np.inf).max(axis=1)
    cheapest = curve.share.min(axis=1)
    return np.where(cheapest <= share, np.maximum(affordable, at_share(curve, share)), -np.inf)


def area(curve: Curve) -> FloatArray:
    """The area under a curve from share 0 to 1 (trapezoid). Its first and last points must reach that far."""
    grid = np.clip(curve.share, 0.0, 1.0)
    last = at_share(curve, 1.0)[:, None]
    value = np.where(curve.share > 1.0, last, curve.value)
    return np.asarray((np.diff(grid, axis=1) * (value[:, 1:] + value[:, :-1]) / 2).sum(axis=1))


def hull(curve: Curve) -> Curve:
    """The least concave, never falling curve above all points, at the points' shares: what mixtures of any two of
    them, and spending more for nothing, can reach (RouterBench, arXiv 2403.12031, section on the non-decreasing hull).
    """
    value = np.maximum.accumulate(curve.value, axis=1)
    above = np.stack([_concave(x, y) for x, y in zip(curve.share, value, strict=True)])
    return Curve(curve.share, above)


def _concave(x: FloatArray, y: FloatArray) -> FloatArray:
    """The upper hull of one version's points at their shares (monotone chain). Of points at one share, the best."""
    corners: list[int] = []
    for index in range(len(x)):
        while len(corners) > 1 and _turns_left(x, y, (corners[-2], corners[-1], index)):
            corners.pop()
        corners.append(index)
    return np.interp(x, x[corners], y[corners])


def _turns_left(x: FloatArray, y: FloatArray, points: tuple[int, int, int]) -> bool:
    first, middle, last = points
    cross = (x[middle] - x[first]) * (y[last] - y[first]) - (y[middle] - y[first]) * (x[last] - x[first])
    return bool(cross >= 0)


def lift(share: FloatArray, pgr: FloatArray) -> FloatArray:
    """delta-IBC of points, PGR / c - 1 (AutoMix, arXiv 2310.12963, as a ratio); nan for a point that spends nothing."""
    return np.where(share > 0, pgr / np.where(share > 0, share, 1.0) - 1.0, np.nan)


def mean_lift(share: FloatArray, pgr: FloatArray, regions: int = 5) -> FloatArray:
    """delta-IBC averaged over equal regions of the share, so that a dense sweep in one place counts no more.

    A region's figure is the mean of its points'; regions without points are left out; points at a share of 1 or more
    belong to the last.
    """
    lifts = lift(share, pgr)
    region = np.clip(np.floor(share * regions), 0, regions - 1)
    total, seen = np.zeros(len(share)), np.zeros(len(share))
    for index in range(regions):
        inside = (region == index) & ~np.isnan(lifts)
        count = inside.sum(axis=1)
        total += np.where(inside, lifts, 0.0).sum(axis=1) / np.maximum(count, 1)
        seen += count > 0
    return np.where(seen > 0, total / np.maximum(seen, 1), np.nan)


def best_lift(share: FloatArray, pgr: FloatArray) -> FloatArray:
    """delta-IBC of the best point; nan where no point spends anything."""
    lifts = lift(share, pgr)
    best = np.where(np.isnan(lifts), -np.inf, lifts).max(axis=1)
    return np.where(np.isinf(best), np.nan, best)
