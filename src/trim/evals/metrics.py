"""Figures from traces: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from trim.intervals import wilson
from trim.types import Role, Trace


@dataclass(frozen=True)
class OperatingPoint:
    """One policy at one parameter over a set of questions. Tokens, calls and cost are means per question.

    `strong_share` is strong tokens over those of always-strong; `pgr` the part of the gap between weak and strong
    accuracy that is recovered; both None where the run has no such end point (or no gap).
    """

    policy: str
    parameter: float | None
    accuracy: float
    accuracy_interval: tuple[float, float]
    strong_tokens: float
    strong_share: float | None
    pgr: float | None
    weak_tokens: float
    discarded_weak_tokens: float
    strong_calls: float
    prm_calls: float
    cost: float
    cost_per_correct: float | None  # None: nothing was answered correctly
    seconds_p50: float
    seconds_p95: float
    questions: int
    fallbacks: int  # solutions that went on without a role that failed


def point_name(policy: str, parameter: float | None) -> str:
    """What an operating point is called, such as `threshold 0.5`."""
    return policy if parameter is None else f"{policy} {parameter:g}"


@dataclass(frozen=True)
class Difference:
    """Mean of a paired difference with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass
class Tally:
    """What is kept of each trace: flat memory however long the solutions are."""

    right: list[bool]
    numbers: list[tuple[float, ...]]
    questions: list[str] = field(default_factory=list)  # ids: concurrent points finish in different orders
    fallbacks: int = 0

    def add(self, trace: Trace) -> None:
        """Count one trace."""
        weak, strong, prm = (trace.usage[role] for role in (Role.WEAK, Role.STRONG, Role.PRM))
        self.questions.append(trace.question.id)
        self.right.append(bool(trace.correct))
        self.fallbacks += bool(trace.fallbacks)
        self.numbers.append(
            (
                strong.completion_tokens,
                weak.completion_tokens,
                weak.discarded_tokens,
                strong.calls,
                prm.calls,
                trace.cost,
                trace.seconds,
            )
        )


def tally() -> Tally:
    """An empty tally."""
    return Tally([], [])


def operating_points(tallies: dict[tuple[str, float | None], Tally]) -> list[OperatingPoint]:
    """The figures of every point; always-weak and always-strong, if among them, are the ends of the scale."""
    weak, strong = tallies.get(("always-weak", None)), tallies.get(("always-strong", None))
    low = float(np.mean(weak.right)) if weak and weak.right else None
    high = float(np.mean(strong.right)) if strong and strong.right else None
    full = float(np.mean([row[0] for row in strong.numbers])) if strong and strong.numbers else None
    points = []
    for (policy, parameter), counted in tallies.items():
        if not counted.right:
            continue
        table = np.array(counted.numbers, dtype=np.float64)
        means = table.mean(axis=0)
        accuracy = float(np.mean(counted.right))
        gap = high - low if high is not None and low is not None else 0.0
        points.append(
            OperatingPoint(
                policy=policy,
                parameter=parameter,
                accuracy=accuracy,
                accuracy_interval=wilson(sum(counted.right), len(counted.right)),
                strong_tokens=float(means[0]),
                strong_share=float(means[0]) / full if full else None,
                pgr=(accuracy - low) / gap if low is not None and gap > 0 else None,
                weak_tokens=float(means[1]),
                discarded_weak_tokens=float(means[2]),
                strong_calls=float(means[3]),
                prm_calls=float(means[4]),
                cost=float(means[5]),
                cost_per_correct=float(means[5]) / accuracy if accuracy > 0 else None,
                seconds_p50=float(np.percentile(table[:, 6], 50)),
                seconds_p95=float(np.percentile(table[:, 6], 95)),
                questions=len(counted.right),
                fallbacks=counted.fallbacks,
            )
        )
    return points


def paired_difference(first: Sequence[float], second: Sequence[float], *, draws: int = 10_000) -> Difference:
    """Mean of first - second over the same questions, with a 95% interval from a bootstrap over questions.

    Both in the same order of questions; `compare` brings two tallies into one.

    Raises:
        ValueError: different lengths, or nothing to compare.
    """
    if len(first) != len(second) or len(first) == 0:
        raise ValueError(f"pairs are needed, not {len(first)} and {len(second)} values")
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    rng = np.random.default_rng(0)
    means = np.array([difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(draws)])
    low, high = np.percentile(means, (2.5, 97.5))
    return Difference(float(difference.mean()), float(low), float(high))


def compare(first: Tally, second: Tally) -> Difference:
    """Accuracy of `first` less that of `second` over the questions that both answered.

    Raises:
        ValueError: no question in common.
    """
    other = dict(zip(second.questions, second.right, strict=True))
    pairs = [(right, other[q]) for q, right in zip(first.questions, first.right, strict=True) if q in other]
    return paired_difference([a for a, _ in pairs], [b for _, b in pairs])


def cheapest(points: Sequence[OperatingPoint], policy: str, pgr: float) -> OperatingPoint | None:
    """The point of a policy with the smallest strong share that recovers at least `pgr` of the gap."""
    reached = [p for p in points if p.policy == policy and p.pgr is not None and p.pgr >= pgr]
    return min(reached, key=lambda p: p.strong_share if p.strong_share is not None else float("inf"), default=None)
