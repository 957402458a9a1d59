"""How good a process reward model is, from solutions whose first wrong step is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim.metrics.score_calibration import Points
from trim.stats import Estimate, FloatArray, Indices, bootstrap, wilson

BINS = 10
_DRAWS = 1_000


@dataclass(frozen=True)
class Judged:
    """A scored solution. `first_wrong` is the 0-based index of its first wrong step, -1 if there is none; `seconds` is
    what scoring it took.
    """

    scores: tuple[float, ...]
    first_wrong: int
    seconds: float = 0.0

    def first_below(self, threshold: float) -> int:
        """The first step scored below the threshold, -1 if there is none."""
        return next((index for index, score in enumerate(self.scores) if score < threshold), -1)


@dataclass(frozen=True)
class ReliabilityBin:
    """Steps whose scores lie in one tenth: mean score, share that is right with its 95% interval, how many."""

    score: float
    right: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Quality:
    """Figures of a process reward model; estimates have 95% intervals from a bootstrap over solutions.

    Args:
        solutions, steps: what they are from. Steps behind the first wrong one have no label and don't count.
        threshold: below it a step counts as wrong, for the next three.
        f1: ProcessBench's (arXiv 2412.06559): harmonic mean of the two accuracies that follow.
        erroneous: share of erroneous solutions whose first wrong step is named exactly.
        correct: share of correct solutions in which no step is called wrong.
        near: share of erroneous solutions where the step called wrong is the first wrong one or a neighbour of it.
        best_threshold: the one with the largest F1 on these solutions.
        best_f1: F1 there, a little optimistic as it is chosen on the same solutions.
        auroc: P(a right step scores above a wrong one).
        calibration_error: mean distance between score and share right over tenths, weighted by steps.
        bins: the calibration curve.
        seconds_per_step: of scoring.
    """

    solutions: int
    steps: int
    threshold: float
    f1: Estimate
    erroneous: Estimate
    correct: Estimate
    near: float
    best_threshold: float
    best_f1: float
    auroc: Estimate
    calibration_error: float
    bins: tuple[ReliabilityBin, ...]
    seconds_per_step: float


def quality(solutions: Sequence[Judged], threshold: float = 0.5) -> Quality:
    """All figures.

    Raises:
        ValueError: there are no erroneous or no correct solutions.
    """
    wrong = np.array([s.first_wrong >= 0 for s in solutions])
    if wrong.all() or not wrong.any():
        raise ValueError("both correct and erroneous solutions are needed")
    named = np.array([s.first_below(threshold) for s in solutions])
    first = np.array([s.first_wrong for s in solutions])
    hit = (named == first).astype(float)
    near = (named >= 0) & (np.abs(named - first) <= 1)
    points = labelled_steps(solutions)
    choices = np.unique(np.concatenate([np.linspace(0.05, 0.95, 19), [threshold]]))
    scored = [_f1(np.array([s.first_below(t) for s in solutions]) == first, wrong) for t in choices]
    owner = np.concatenate([[index] * _labelled(s) for index, s in enumerate(solutions)]).astype(int)

    def ranking(chosen: Indices) -> float:
        return auroc(points.scores, points.right, np.bincount(chosen, minlength=len(solutions))[owner])

    def estimate(figure: Callable[[Indices], float], count: int) -> Estimate:
        return bootstrap(figure, len(solutions), draws=_DRAWS, count=count)

    return Quality(
        solutions=len(solutions),
        steps=len(points.scores),
        threshold=threshold,
        f1=estimate(lambda chosen: _f1(hit[chosen], wrong[chosen]), len(solutions)),
        erroneous=estimate(lambda chosen: _mean(hit[chosen][wrong[chosen]]), int(wrong.sum())),
        correct=estimate(lambda chosen: _mean(hit[chosen][~wrong[chosen]]), int((~wrong).sum())),
        near=float(near[wrong].mean()),
        best_threshold=float(choices[int(np.argmax(scored))]),
        best_f1=max(scored),
        auroc=estimate(ranking, len(points.scores)),
        calibration_error=calibration_error(points),
        bins=reliability(points),
        seconds_per_step=sum(s.seconds for s in solutions) / sum(len(s.scores) for s in solutions),
    )


def labelled_steps(solutions: Sequence[Judged]) -> Points:
    """Scores of the steps up to the first wrong one, and which of them are right."""
    scores = [score for s in solutions for score in s.scores[: _labelled(s)]]
    right = [float(index != s.first_wrong) for s in solutions for index in range(_labelled(s))]
    return Points(np.array(scores), np.array(right))


def _labelled(solution: Judged) -> int:
    return len(solution.scores) if solution.first_wrong < 0 else solution.first_wrong + 1


def reliability(points: Points) -> tuple[ReliabilityBin, ...]:
    """The calibration curve in tenths; empty tenths are left out."""
    place = np.minimum((points.scores * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    score, right = (np.bincount(place, values, BINS) for values in (points.scores, points.right))
    return tuple(
        ReliabilityBin(score[i] / n, right[i] / n, *wilson(right[i], n), int(n)) for i, n in enumerate(count) if n
    )


def calibration_error(points: Points) -> float:
    """Mean distance between score and share right over tenths, weighted by steps."""
    return sum(b.count * abs(b.score - b.right) for b in reliability(points)) / len(points.scores)


def auroc(scores: FloatArray, right: FloatArray, weight: NDArray[np.int64] | None = None) -> float:
    """P(a right step scores above a wrong one), ties counting half; nan without both kinds."""
    weights = np.ones(len(scores)) if weight is None else weight.astype(float)
    values, place = np.unique(scores, return_inverse=True)
    good = np.bincount(place, weights * right, len(values))
    bad = np.bincount(place, weights * (1 - right), len(values))
    pairs = good.sum() * bad.sum()
    below = np.cumsum(bad) - bad
    return float((good * (below + bad / 2)).sum() / pairs) if pairs else float("nan")


def _f1(hit: NDArray[np.bool_] | FloatArray, wrong: NDArray[np.bool_]) -> float:
    first, second = _mean(hit[wrong]), _mean(hit[~wrong])
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def _mean(values: NDArray[np.bool_] | FloatArray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
