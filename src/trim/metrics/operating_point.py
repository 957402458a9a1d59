"""The figures of one policy at one parameter over a set of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isnan

import numpy as np

from trim.metrics.tally import Tally
from trim.policies.registry import Need, known
from trim.stats import proportion

_RANDOM = ("random", "random-query")


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
    cost: float | None  # dollars; None: a role that was used has no known price
    cost_per_correct: float | None  # None: nothing was answered correctly, or the cost is not known
    seconds_p50: float
    seconds_p95: float
    questions: int
    fallbacks: int  # solutions in which a fallback stood in for a failed model
    prm_tokens: float | None = None  # results of earlier versions do not have it
    estimated: int = 0  # solutions some of whose token counts are estimates
    failed: int = 0  # solutions whose text a server refused; they count as wrong


@dataclass(frozen=True)
class MeasuredPoint:
    """What the requests of an operating point really took, a solution: with drafts that were read ahead and never
    decided on, and with what prefix caches held. It depends on timing and on what ran before: never compare policies
    by it.
    """

    policy: str
    parameter: float | None
    cost: float | None
    weak_tokens: float
    strong_tokens: float
    prm_tokens: float
    cached_tokens: float  # of all prompts


def measured_points(tallies: Mapping[tuple[str, float | None], Tally]) -> list[MeasuredPoint]:
    """What was measured of every point."""
    return [
        MeasuredPoint(
            policy,
            parameter,
            None if counted.measured.cost is None else counted.measured.cost / len(counted.right),
            counted.measured.weak_tokens / len(counted.right),
            counted.measured.strong_tokens / len(counted.right),
            counted.measured.prm_tokens / len(counted.right),
            counted.measured.cached_tokens / len(counted.right),
        )
        for (policy, parameter), counted in tallies.items()
        if counted.right
    ]


def point_name(policy: str, parameter: float | None) -> str:
    """What an operating point is called, such as `threshold 0.5`."""
    return policy if parameter is None else f"{policy} {parameter:g}"


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
        strong_tokens = float(np.mean(counted.strong_tokens))
        mean = fsum(counted.cost) / solved.count  # the same sum in whatever order solutions were done
        cost = None if isnan(mean) else mean
        weak_tokens, discarded, strong_calls, prm_calls, prm_tokens = (total / solved.count for total in counted.sums)
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
                prm_tokens=prm_tokens,
                cost=cost,
                cost_per_correct=cost / solved.value if cost is not None and solved.value > 0 else None,
                seconds_p50=float(median),
                seconds_p95=float(slow),
                questions=len(set(counted.questions)),
                fallbacks=counted.fallbacks,
                estimated=counted.estimated,
                failed=counted.failed,
            )
        )
    return points


def best_point(points: Sequence[OperatingPoint]) -> OperatingPoint | None:
    """What a run has to show: of the policies that can be used anywhere, the cheapest point that recovers 95% of the
    gap, else the one that recovers most. Random choice counts where there is nothing else, the two ends never.
    """
    routed = [p for p in points if p.pgr is not None and p.strong_share is not None and _is_usable(p.policy)]
    routed = [p for p in routed if p.policy not in _RANDOM] or routed
    if good := [p for p in routed if (p.pgr or 0.0) >= 0.95]:
        return min(good, key=_spent)
    return max(routed, key=lambda p: (p.pgr or 0.0, -_spent(p)), default=None)


def _spent(point: OperatingPoint) -> float:
    return (point.strong_share or 0.0) if point.cost is None else point.cost


def _is_usable(policy: str) -> bool:
    """Not an end, and not one that needs to know which steps or answers are right."""
    family = known(policy)
    knows = family is not None and (Need.STEP_LABELS in family.needs or family.name == "oracle-query")
    return not policy.startswith("always-") and not knows


def cheapest(points: Sequence[OperatingPoint], policy: str, pgr: float) -> OperatingPoint | None:
    """The point of a policy with the smallest strong share that recovers at least `pgr` of the gap."""
    reached = [p for p in points if p.policy == policy and p.pgr is not None and p.pgr >= pgr]
    return min(reached, key=lambda p: p.strong_share if p.strong_share is not None else float("inf"), default=None)
