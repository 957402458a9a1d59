"""Figures from traces: pure functions, no I/O."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field

import numpy as np

from trim.stats import proportion
from trim.types import Role, Trace


@dataclass(frozen=True)
class OperatingPoint:
    """One policy at one parameter over a set of questions. Figures are means over all solutions, the same
    number of samples of each question; the interval of the accuracy allows for correlated samples of one question.

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


@dataclass
class Tally:
    """What is kept of each solution, 37 bytes however long it is: an entry in each column, in the order they came.

    Args:
        questions: ids; several solutions of one question are samples of it.
        right, strong_tokens, cost: what the bootstrap needs of each.
        seeds: which sample each is.
        seconds: what each took.
        sums: over all solutions: weak tokens, discarded weak tokens, strong calls, PRM calls.
        fallbacks: solutions that went on without a role that failed.
    """

    questions: list[str] = field(default_factory=list)
    right: MutableSequence[int] = field(default_factory=lambda: array("b"))
    strong_tokens: MutableSequence[float] = field(default_factory=lambda: array("d"))
    cost: MutableSequence[float] = field(default_factory=lambda: array("d"))
    seeds: MutableSequence[int] = field(default_factory=lambda: array("q"))
    seconds: MutableSequence[float] = field(default_factory=lambda: array("f"))
    sums: list[int] = field(default_factory=lambda: [0] * 4)
    fallbacks: int = 0

    def add(self, trace: Trace) -> None:
        """Count one trace."""
        weak, strong, prm = (trace.usage[role] for role in (Role.WEAK, Role.STRONG, Role.PRM))
        self.questions.append(sys.intern(trace.question.id))  # one text for all points
        self.right.append(bool(trace.correct))
        self.strong_tokens.append(strong.completion_tokens)
        self.cost.append(trace.cost)
        self.seeds.append(trace.seed)
        self.seconds.append(trace.seconds)
        spent = (weak.completion_tokens, weak.discarded_tokens, strong.calls, prm.calls)
        self.sums = [total + one for total, one in zip(self.sums, spent, strict=True)]
        self.fallbacks += bool(trace.fallbacks)


def operating_points(tallies: Mapping[tuple[str, float | None], Tally]) -> list[OperatingPoint]:
    """The figures of every point; always-weak and always-strong, if among them, are the ends of the scale."""
    weak, strong = tallies.get(("always-weak", None)), tallies.get(("always-strong", None))
    low = float(np.mean(weak.right)) if weak and weak.right else None
    high = float(np.mean(strong.right)) if strong and strong.right else None
    full = float(np.mean(strong.strong_tokens)) if strong and strong.right else None
    gap = high - low if high is not None and low is not None else 0.0
    points = []
    for (policy, parameter), counted in tallies.items():
        if not counted.right:
            continue
        solved = proportion(counted.right, counted.questions)
        strong_tokens, cost = float(np.mean(counted.strong_tokens)), float(np.mean(counted.cost))
        weak_tokens, discarded, strong_calls, prm_calls = (total / solved.count for total in counted.sums)
        median, slow = np.percentile(counted.seconds, (50, 95))
        points.append(
            OperatingPoint(
                policy=policy,
                parameter=parameter,
                accuracy=solved.value,
                accuracy_interval=(solved.low, solved.high),
                strong_tokens=strong_tokens,
                strong_share=strong_tokens / full if full else None,
                pgr=(solved.value - low) / gap if low is not None and gap > 0 else None,
                weak_tokens=weak_tokens,
                discarded_weak_tokens=discarded,
                strong_calls=strong_calls,
                prm_calls=prm_calls,
                cost=cost,
                cost_per_correct=cost / solved.value if solved.value > 0 else None,
                seconds_p50=float(median),
                seconds_p95=float(slow),
                questions=len(set(counted.questions)),
                fallbacks=counted.fallbacks,
            )
        )
    return points


def cheapest(points: Sequence[OperatingPoint], policy: str, pgr: float) -> OperatingPoint | None:
    """The point of a policy with the smallest strong share that recovers at least `pgr` of the gap."""
    reached = [p for p in points if p.policy == policy and p.pgr is not None and p.pgr >= pgr]
    return min(reached, key=lambda p: p.strong_share if p.strong_share is not None else float("inf"), default=None)
