"""The value of planning: accuracy of POMDP policies and thresholds at equal strong calls, on the published instance.

    python -m benchmarks.value_of_planning

Simulates 40,000 solutions of the POMDP itself, without the Router: hidden states from the step accuracies, a (min,
score) pair drawn from the state's bins at each draft, ends from the hazard. Every policy is run on the same
simulation; accuracy is compared at equal strong calls per question by linear interpolation between operating points
(within a bin a threshold can do no better: scores there say the same of every state). Needs ../shared/data/calibration;
15 s of CPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.published_instance import published
from trim.pomdp import PomdpModel, PomdpSolution, solve
from trim.types import Action

QUESTIONS = 40_000
PRICES = (0.016, 0.012, 0.009, 0.007, 0.006, 0.005, 0.004, 0.003, 0.002, 0.001, 0.0)
CALLS = (0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.8)

Floats = NDArray[np.float64]
Rule = Callable[[int, "Drafts", bool], NDArray[np.bool_]]


@dataclass(frozen=True)
class Drafts:
    """What a rule may look at, for every solution that still goes on: the newest score, the belief from all
    observations so far, and that from the newest alone. Shapes (n,), (n, 3), (n, 3).
    """

    score: Floats
    filtered: Floats
    snapshot: Floats


@dataclass(frozen=True)
class Point:
    """Accuracy and strong calls per question."""

    accuracy: float
    calls: float


def play(model: PomdpModel, rule: Rule, seed: int = 0) -> Point:
    """Simulate all solutions to their ends; `rule` says which drafts (final or not) the strong model regenerates."""
    rng = np.random.default_rng(seed)
    tables = model.observation.mass.reshape(3, -1)
    centers = (model.observation.score_edges[1:] + model.observation.score_edges[:-1]) / 2
    steps_right = np.ones(QUESTIONS, bool)  # no kept step is wrong
    kept = np.ones(QUESTIONS)  # the belief that it is so
    right_answers = calls = 0
    for step in range(len(model.hazard) + 1):
        n = len(kept)
        final = rng.random(n) < model.hazard[step - 1] if step else np.zeros(n, bool)
        draft_right = steps_right & (rng.random(n) < model.weak_accuracy)
        state = np.where(draft_right, 0, np.where(steps_right, 1, 2))
        seen = np.empty(n, int)
        for s, table in enumerate(tables):
            seen[state == s] = rng.choice(len(table), size=int((state == s).sum()), p=table)
        likelihood = tables[:, seen].T
        joint = np.stack([kept * model.weak_accuracy, kept * (1 - model.weak_accuracy), 1 - kept], axis=1) * likelihood
        filtered = joint / joint.sum(axis=1, keepdims=True)
        snapshot = likelihood / likelihood.sum(axis=1, keepdims=True)
        drafts = Drafts(centers[seen % len(centers)], filtered, snapshot)
        regenerate = np.where(final, rule(step, drafts, True), rule(step, drafts, False))
        succeeds = np.where(draft_right, model.strong_accuracy_if_correct, model.strong_accuracy_if_wrong * steps_right)
        steps_right = np.where(regenerate, rng.random(n) < succeeds, draft_right)
        fixed = filtered[:, 0] * model.strong_accuracy_if_correct + filtered[:, 1] * model.strong_accuracy_if_wrong
        kept = np.where(regenerate, fixed, filtered[:, 0])
        calls += int(regenerate.sum())
        right_answers += int(steps_right[final].sum())
        steps_right, kept = steps_right[~final], kept[~final]
    assert not len(kept), "the hazard has to end in 1"
    return Point(right_answers / QUESTIONS, calls / QUESTIONS)


def below(threshold: float) -> Rule:
    """Score below a constant."""
    return lambda step, drafts, final: drafts.score < threshold


def planned(solution: PomdpSolution, *, snapshot: bool = False, gate: float = np.inf) -> Rule:
    """The exact solution's action for a belief; the gate is that of `trim.policies.pomdp`."""

    def rule(step: int, drafts: Drafts, final: bool) -> NDArray[np.bool_]:
        belief = drafts.snapshot if snapshot else drafts.filtered
        wanted = solution.action(step, belief, solution.model.step_tokens, final=final) == Action.REGENERATE
        open_gate = belief.max(axis=1) - belief[:, 1] < gate
        return np.asarray(wanted & open_gate)

    return rule


def frontier(points: list[Point], calls: tuple[float, ...]) -> Floats:
    """Accuracy in percent at these strong calls; NaN outside the points."""
    ordered = sorted(points, key=lambda point: point.calls)
    x, y = [point.calls for point in ordered], [100 * point.accuracy for point in ordered]
    return np.interp(calls, x, y, left=np.nan, right=np.nan)


def study(world: str, model: PomdpModel, planner: PomdpModel | None = None) -> None:
    """Print the frontiers of the rules in one world; snapshots, which depend on the min, only where there is one.
    `planner` is another model to plan with in this world.
    """
    solutions = [solve(model, price) for price in PRICES]
    curves = {
        "threshold": [play(model, below(k)) for k in np.linspace(0, 1, 21)],
        "planned, filter": [play(model, planned(s)) for s in solutions],
    }
    if model.observation.mass.shape[1] > 1:
        curves["planned, snapshot"] = [play(model, planned(s, snapshot=True)) for s in solutions]
        curves["planned, snapshot and gate 0.4"] = [play(model, planned(s, snapshot=True, gate=0.4)) for s in solutions]
    if planner is not None:
        curves["planned with the pair's bins, filter"] = [play(model, planned(solve(planner, p))) for p in PRICES]
    weak, strong = curves["threshold"][0], curves["threshold"][-1]
    ends = {"weak": 100 * weak.accuracy, "strong": 100 * strong.accuracy, "strong_calls": strong.calls}
    print(json.dumps({"world": world, "questions": QUESTIONS, **{k: round(v, 2) for k, v in ends.items()}}))
    base = frontier(curves["threshold"], CALLS)
    for name, points in curves.items():
        accuracy = frontier(points, CALLS)
        rows = {str(c): round(float(a), 1) for c, a in zip(CALLS, accuracy, strict=True)}
        print(json.dumps({"policy": name, "accuracy_at_calls": rows}))
        if name == "planned, filter":
            gains = {str(c): round(float(g), 1) for c, g in zip(CALLS, accuracy - base, strict=True)}
            print(json.dumps({"policy": name, "points_above_threshold": gains}))


def main() -> None:
    """Three worlds: the instance, with both models' lengths pooled, and with scores that don't depend on the min."""
    weak, both = published("weak"), published("both")
    study("weak model's lengths", weak)
    study("both models' lengths", both)
    alone = replace(weak, observation=weak.observation.scores_only())
    study("weak model's lengths, scores alone", alone, planner=weak)


if __name__ == "__main__":
    main()
