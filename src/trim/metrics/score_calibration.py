"""Calibrating scores: a rising curve from a score to the share of such steps that is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trim.scoring.recalibrated import RecalibrationCurve
from trim.stats import FloatArray, sigmoids

_LEAST = 10  # steps behind a stretch of an isotonic curve: fewer say little
_KNOTS = 65


@dataclass(frozen=True, eq=False)
class Points:
    """Scores (N,) and whether each step is right, 0 or 1 (N,)."""

    scores: FloatArray
    right: FloatArray


def fit_curve(points: Points, method: Literal["isotonic", "temperature"]) -> RecalibrationCurve:
    """Fit a curve.

    Args:
        points: labelled steps.
        method: `isotonic` follows whatever rises (pool adjacent violators); `temperature` has one parameter, for few
            steps: logit(score) / T.

    Raises:
        ValueError: fewer than 20 steps.
    """
    if len(points.scores) < 2 * _LEAST:
        raise ValueError(f"at least {2 * _LEAST} labelled steps are needed, not {len(points.scores)}")
    return _isotonic(points) if method == "isotonic" else _temperature(points)


def _isotonic(points: Points) -> RecalibrationCurve:
    order = np.argsort(points.scores, kind="stable")
    groups = np.array_split(order, max(2, min(len(order) // _LEAST, 200)))
    blocks: list[list[float]] = []  # sum of scores, of right ones, count
    for group in groups:
        blocks.append([float(points.scores[group].sum()), float(points.right[group].sum()), float(len(group))])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    # Half a step of each kind more: a stretch of right steps only is not certain.
    knots = [(score / count, (right + 0.5) / (count + 1)) for score, right, count in blocks]
    return RecalibrationCurve(tuple(x for x, _ in knots), tuple(np.maximum.accumulate([y for _, y in knots]).tolist()))


def _temperature(points: Points) -> RecalibrationCurve:
    logits = _logit(points.scores)

    def loss(temperature: float) -> float:
        chance = np.clip(sigmoids(logits / temperature), 1e-9, 1 - 1e-9)
        return float(-(points.right * np.log(chance) + (1 - points.right) * np.log(1 - chance)).mean())

    best = min(np.exp(np.linspace(-3, 3, 601)), key=loss)
    logit = np.linspace(-9.0, 9.0, _KNOTS)  # even in logits: the curve bends most at its ends
    x, y = sigmoids(logit), sigmoids(logit / best)
    return RecalibrationCurve(tuple(x.tolist()), tuple(y.tolist()))


def _logit(scores: FloatArray) -> FloatArray:
    clipped = np.clip(scores, 1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped))
