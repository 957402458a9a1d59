"""Metrics of step scores: AUROC and ProcessBench's F1. Scores are P(correct) or any number that grows with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Rows = Sequence[Sequence[float]]
Truth = Sequence[Sequence[bool]]


def upto_first_error(scores: Rows, labels: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Flat scores and labels of the steps up to and including the first wrong one: those that a router decides on."""
    flat: list[float] = []
    truth: list[bool] = []
    for row, right in zip(scores, labels, strict=True):
        end = right.index(False) + 1 if False in right else len(right)
        flat += row[:end]
        truth += right[:end]
    return np.array(flat, float), np.array(truth, bool)


def auroc(scores: np.ndarray, truth: np.ndarray) -> float:
    """P(a correct step scores above a wrong one), ties counted half; nan if one of the two kinds is missing."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    good, bad = int(truth.sum()), int((~truth).sum())
    if not good or not bad:
        return float("nan")
    return float((ranks[truth].sum() - good * (good + 1) / 2) / (good * bad))


def first_error_f1(scores: Rows, labels: Truth, threshold: float = 0.5) -> float:
    """ProcessBench's F1: harmonic mean of (a) the share of wrong solutions whose first error is named exactly and
    (b) the share of right solutions that are left alone. A step below the threshold is named wrong.
    """
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for row, right in zip(scores, labels, strict=True):
        true = next((i for i, ok in enumerate(right) if not ok), -1)
        named = next((i for i, score in enumerate(row) if score < threshold), -1)
        hits[true < 0].append(true == named)
    if not hits[True] or not hits[False]:
        return float("nan")
    right_rate, wrong_rate = (sum(hits[kind]) / len(hits[kind]) for kind in (True, False))
    return 2 * right_rate * wrong_rate / (right_rate + wrong_rate) if right_rate + wrong_rate else 0.0


def calibration_error(scores: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over equal-width bins."""
    index = np.clip((scores * bins).astype(int), 0, bins - 1)
    return float(
        sum(
            abs(scores[index == i].mean() - truth[index == i].mean()) * (index == i).mean()
            for i in range(bins)
            if (index == i).any()
        )
    )


def reliability(scores: np.ndarray, truth: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """For equal-width bins of scores: how many steps, their mean score, and which share of them is right."""
    index = np.clip((scores * bins).astype(int), 0, bins - 1)
    return [
        {
            "steps": int((index == i).sum()),
            "score": round(float(scores[index == i].mean()), 4),
            "right": round(float(truth[index == i].mean()), 4),
        }
        for i in range(bins)
        if (index == i).any()
    ]


def table(scores: Rows, labels: Truth) -> dict[str, float]:
    """All figures of scores in [0, 1]."""
    flat, truth = upto_first_error(scores, labels)
    return {
        "steps": len(flat),
        "wrong_steps": int((~truth).sum()),
        "auroc": round(auroc(flat, truth), 4),
        "first_error_f1": round(first_error_f1(scores, labels), 4),
        "ece": round(calibration_error(flat, truth), 4),
    }
