"""A policy's whole curve in a few figures, each with its interval: the `summary` of `results.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from trim.metrics.curves import Curve, area, at_share, best_lift, best_within, by_share, hull, mean_lift, reach
from trim.metrics.question_bootstrap import DRAWS, Means, resampled_means
from trim.metrics.tally import Tally
from trim.stats import Estimate, FloatArray, from_resamples

ENDS = (("always-weak", None), ("always-strong", None))
LEVELS = (50, 80, 95)
"""PGR in percent at which CPT is given."""
BUDGETS = (10, 15, 20, 25, 30)
"""Strong shares in percent at which budgeted accuracy is given."""


_UNKNOWN = Estimate(nan, nan, nan, 0)


@dataclass(frozen=True)
class Summary:
    """One policy over all its operating points. A figure (or an end of its interval) that is infinite was not reached.

    Args:
        policy: its name.
        questions: those that every point of the run answered; the figures are of them.
        cpt: by PGR in percent: the smallest strong share that recovers so much of the gap, between neighbouring
            points (sorted by share, weak-only among them) linearly. RouteLLM's CPT, in tokens.
        apgr: area under PGR over strong share 0 to 1, weak-only and strong-only included.
        delta_ibc: PGR / c - 1, the mean over five equal regions of the share.
        delta_ibc_best: the same of the best point.
        budgeted_accuracy: by strong share in percent: the best accuracy for that much or less.
        aiq: area under the non-decreasing convex hull of accuracy over strong share 0 to 1 (RouterBench).
        cost_per_correct: the total cost of a correct answer at CPT95, in dollars; nan: a price is not known.
    """

    policy: str
    questions: int
    cpt: dict[int, Estimate]
    apgr: Estimate
    delta_ibc: Estimate
    delta_ibc_best: Estimate
    budgeted_accuracy: dict[int, Estimate]
    aiq: Estimate
    cost_per_correct: Estimate

    def to_json(self) -> dict[str, object]:
        """Figures by name, each with its `_interval`; null is "not reached"."""
        flat = {f"cpt{level}": figure for level, figure in self.cpt.items()} | {
            name: getattr(self, name) for name in ("apgr", "delta_ibc", "delta_ibc_best", "aiq", "cost_per_correct")
        }
        values: dict[str, object] = {"policy": self.policy, "questions": self.questions}
        for name, figure in flat.items():
            values |= {name: figure.json_value, f"{name}_interval": figure.json_interval}
        budgets = self.budgeted_accuracy.items()
        values["budgeted_accuracy"] = {str(share): figure.json_value for share, figure in budgets}
        values["budgeted_accuracy_interval"] = {str(share): figure.json_interval for share, figure in budgets}
        return values


def summarise(tallies: Mapping[tuple[str, float | None], Tally], draws: int = DRAWS) -> list[Summary]:
    """Summaries of every policy of a run, all from the same resamples of the questions that all points answered.

    Empty where the run has no two ends, no such question, or no gap between the ends. Resamples without a gap are
    left out.
    """
    counted = {key: tally for key, tally in tallies.items() if tally.right}
    if not all(end in counted for end in ENDS):
        return []
    keys = [*ENDS, *(key for key in counted if key not in ENDS)]
    try:
        means = resampled_means([counted[key] for key in keys], draws)
    except ValueError:
        return []
    gap, full = means.right[:, 1] - means.right[:, 0], means.strong_tokens[:, 1]
    if not (gap[0] > 0 and full[0] > 0):
        return []
    sound = (gap > 0) & (full > 0)
    means = Means(means.questions, means.right[sound], means.strong_tokens[sound], means.cost[sound])
    policies = dict.fromkeys(policy for policy, _ in keys[2:])
    return [_summary(policy, means, [i for i, key in enumerate(keys) if key[0] == policy]) for policy in policies]


def _summary(policy: str, means: Means, points: list[int]) -> Summary:
    share = means.strong_tokens / means.strong_tokens[:, 1:2]
    weak, strong = means.right[:, 0:1], means.right[:, 1:2]
    pgr = (means.right - weak) / (strong - weak)

    def curve(values: FloatArray, *, strong_end: bool) -> Curve:
        chosen = [0, *([1] if strong_end else []), *points]
        return by_share(share[:, chosen], values[:, chosen])

    def estimate(values: FloatArray) -> Estimate:
        # What is not finite was not reached; it sorts behind the rest.
        value, *drawn = np.where(np.isfinite(values), values, np.inf)
        return from_resamples(value, drawn or [np.inf], means.questions, method="nearest")

    own, whole = curve(pgr, strong_end=False), curve(pgr, strong_end=True)
    accuracy = curve(means.right, strong_end=True)
    cpt95 = reach(own, 0.95)
    reached = np.isfinite(cpt95)
    cost = at_share(curve(means.cost, strong_end=False), np.where(reached, cpt95, 0.0))
    solved = at_share(curve(means.right, strong_end=False), np.where(reached, cpt95, 1.0))
    return Summary(
        policy=policy,
        questions=means.questions,
        cpt={level: estimate(reach(own, level / 100)) for level in LEVELS},
        apgr=estimate(area(whole)),
        delta_ibc=estimate(mean_lift(share[:, points], pgr[:, points])),
        delta_ibc_best=estimate(best_lift(share[:, points], pgr[:, points])),
        budgeted_accuracy={budget: estimate(best_within(accuracy, budget / 100)) for budget in BUDGETS},
        aiq=estimate(area(hull(accuracy))),
        cost_per_correct=_UNKNOWN
        if np.isnan(means.cost[0, [0, *points]]).any()
        else estimate(np.where(reached & (solved > 0), cost / np.maximum(solved, 1e-9), np.inf)),
    )
