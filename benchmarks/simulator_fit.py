"""How well the simulator fits a published threshold sweep, and its predictions for other pairs.

    python -m benchmarks.simulator_fit                       residuals of the committed fit, and the Router's own points
    python -m benchmarks.simulator_fit --fit                 fit again
    python -m benchmarks.simulator_fit --strong qwen3-8b     predict the sweep of another pair

Measured inputs: per model the error rate and the probability of ending by step (7,500 MATH training problems), and
the scores of the process reward model by state (ProcessBench). Fitted to every second point of the sweep
(Qwen2.5-1.5B and 7B, MATH-500): the four numbers of `Fit`. Needs ../shared/data.

The fit plays thousands of solutions at once with numpy instead of through the Router: `sample_without_router` follows
`trim.simulation` draw for draw in distribution; the points that are printed come from both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from dataclasses import astuple, dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from benchmarks.published_instance import FOLDER
from trim.policies import Threshold
from trim.pomdp import ObservationBins, quantile_bins, read_points
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm, stricter
from trim.types import Question, Role

WEAK, STRONG = "qwen2.5-1.5b-instruct", "qwen2.5-7b-instruct"
LONGEST = 30
FEWEST = 300  # solutions at a step below which it is pooled with all later ones

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """What is not measured: see `SimulatedModel.difficulty` and `trim.simulation.stricter`."""

    difficulty: float
    power: float
    memory: float
    doubt: float


FITTED = Fit(difficulty=0.75, power=1.4, memory=0.45, doubt=0.075)


@dataclass(frozen=True)
class World:
    """A weak model, a strong one that shares its errors, and the scores by state."""

    weak: SimulatedModel
    strong: SimulatedModel
    scores: ObservationBins


@dataclass(frozen=True)
class Point:
    """Accuracy in percent and strong calls per question at a threshold."""

    threshold: float
    accuracy: float
    calls: float


def published() -> list[Point]:
    """The sweep on MATH-500, one sampled run of 500 questions a point: a standard error of 2 points."""
    path = FOLDER.parent / "results" / "threshold_math500_qwen1.5b_7b.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [Point(r["threshold"], 100 * r["accuracy"], r["avg_target_calls_per_question"]) for r in rows]


def world(fit: Fit, weak: str = WEAK, strong: str = STRONG, *, step_tokens: float = 60) -> World:
    """Two models of the calibration data with the fitted rest."""
    w = SimulatedModel(Role.WEAK, *_by_step(weak), step_tokens=step_tokens, difficulty=fit.difficulty)
    s = SimulatedModel(Role.STRONG, *_by_step(strong), step_tokens=step_tokens, drafter=w, coupling=1.0)
    # The four numbers were fitted to scores in these bins.
    bins = quantile_bins(read_points(FOLDER / "prm_observations_math.json"), score_bins=8, reach=1)
    return World(w, s, stricter(bins, power=fit.power, memory=fit.memory, doubt=fit.doubt))


def _by_step(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Accuracy and P(last step | it is reached) by step, of one model."""
    counts = json.loads((FOLDER / "step_counts_math_train.json").read_text())[name]
    right = np.minimum(counts["steps_of_correct_solutions"], LONGEST)  # Qwen3-8B's are recorded so
    wrong = np.minimum(counts["first_error_step_of_wrong_solutions"], LONGEST)
    steps = np.arange(1, LONGEST + 1)
    reached = np.array([(right >= t).sum() + (wrong >= t).sum() for t in steps], float)
    errors = np.array([(wrong == t).sum() for t in steps], float)
    ended = np.array([(right == t).sum() for t in steps], float)
    few = int(np.argmax(reached < FEWEST)) if reached.min() < FEWEST else LONGEST
    for events in (errors, ended):
        events[few:] = reached[few:] * events[few:].sum() / max(reached[few:].sum(), 1)
    accuracy, ends = 1 - errors / reached, ended / (reached - errors)
    recorded = json.loads((FOLDER / "termination_hazard_math_train.json").read_text())
    if name in (WEAK, STRONG):  # smoothed, wrong solutions included
        ends = np.array(recorded["weak" if name == WEAK else "strong"][1:])
    return tuple(accuracy.tolist()), (*ends[: LONGEST - 1].tolist(), 1.0)


def sample_without_router(here: World, threshold: float, questions: int = 4000, seed: int = 0) -> Point:
    """The threshold policy on many questions at once; no Router, no traces, only counts."""
    rng = np.random.default_rng(seed)
    v = here.weak.difficulty
    hardness = rng.gamma(1 / v, v, questions) if v else np.ones(questions)
    length = rng.random(questions)
    last = {model.role: np.searchsorted(model.lengths, length, "right") for model in (here.weak, here.strong)}
    prm = _Prm(here.scores, rng)
    sound, lowest, open_ = np.ones(questions, bool), np.ones(questions), np.arange(questions)
    calls = right = 0
    for step in range(LONGEST):
        n = len(open_)
        drafted = rng.random(n) < np.exp(-hardness[open_] * here.weak.rates[step])
        draft_right = sound & drafted
        draft_score = prm.draw(np.where(draft_right, 0, np.where(sound, 1, 2)), lowest)
        regenerated = draft_score < threshold if 0 < threshold < 1 else np.full(n, threshold >= 1)
        after_wrong, after_right = here.strong.repair[step]
        repaired = sound & (rng.random(n) < np.where(drafted, after_right, after_wrong))
        kept = np.where(regenerated, repaired, draft_right)
        kept_score = prm.draw(np.where(kept, 0, np.where(sound, 1, 2)), lowest)
        lowest = np.minimum(lowest, np.where(regenerated, kept_score, draft_score))
        final = np.where(regenerated, last[Role.STRONG][open_], last[Role.WEAK][open_]) <= step
        calls += int(regenerated.sum())
        right += int(kept[final].sum())
        sound, lowest, open_ = kept[~final], lowest[~final], open_[~final]
    return Point(threshold, 100 * right / questions, calls / questions)


class _Prm:
    """Scores for many steps at once, as `SimulatedPrm` draws them for one."""

    def __init__(self, scores: ObservationBins, rng: np.random.Generator) -> None:
        self._rng = rng
        self._edges, self._inner = scores.score_edges, scores.minimum_edges[1:-1]
        self._below = np.array(SimulatedPrm(scores=scores).below)

    def draw(self, state: NDArray[np.intp], lowest: Floats) -> Floats:
        below = self._below[state, np.searchsorted(self._inner, lowest, "right")]
        draw = self._rng.random(len(state))
        column = np.clip((below <= draw[:, None]).sum(axis=1) - 1, 0, below.shape[1] - 2)
        rows = np.arange(len(state))
        share = (draw - below[rows, column]) / (below[rows, column + 1] - below[rows, column])
        value: Floats = self._edges[column] + share * (self._edges[column + 1] - self._edges[column])
        return value


def through_router(here: World, threshold: float, questions: int = 500, seed: int = 0) -> Point:
    """The same with `trim.simulation` and the Router."""
    router = Router(here.weak, here.strong, SimulatedPrm(scores=here.scores), Threshold(threshold))

    async def run() -> Point:
        traces = [await router.route(Question(f"question {i}"), seed=seed) for i in range(questions)]
        accuracy = 100 * fmean("#### right" in trace.text for trace in traces)
        return Point(threshold, accuracy, fmean(sum(s.role is Role.STRONG for s in t.steps) for t in traces))

    return asyncio.run(run())


def distance(points: list[Point], goal: list[Point]) -> float:
    """Sum of fourth powers in units of the tolerances, 5 points of accuracy and 20% of the calls: no point far off."""
    total = 0.0
    for mine, theirs in zip(points, goal, strict=True):
        total += ((mine.accuracy - theirs.accuracy) / 5) ** 4
        total += ((mine.calls / theirs.calls - 1) / 0.2) ** 4 if theirs.calls else 0.0
    return total


def fit(start: Fit = FITTED) -> Fit:
    """Closest at every second threshold (the others are a check), with the same random numbers for every try."""
    goal = published()[::2]

    def loss(x: Floats) -> float:
        if min(x) < 0 or max(x[2:]) > 1 or x[1] <= 0:
            return float("inf")
        here = world(Fit(*x))
        return distance([sample_without_router(here, point.threshold, 8000) for point in goal], goal)

    best = _simplex(loss, np.array(astuple(start)), np.array([0.15, 0.3, -0.1, 0.02]))
    return Fit(*(round(float(x), 3) for x in best))


def _simplex(loss: Callable[[Floats], float], start: Floats, size: Floats, rounds: int = 60) -> Floats:
    """The Nelder-Mead method."""
    corners = [start, *(start + row for row in np.diag(size))]
    losses = [loss(corner) for corner in corners]
    for _ in range(rounds):
        order = np.argsort(losses)
        corners, losses = [corners[i] for i in order], [losses[i] for i in order]
        center = np.mean(corners[:-1], axis=0)
        tries = {step: center + step * (center - corners[-1]) for step in (1.0, 2.0, -0.5)}
        reached = loss(tries[1.0])
        step = 2.0 if reached < losses[0] else 1.0 if reached < losses[-2] else -0.5
        other = reached if step == 1.0 else loss(tries[step])
        if step == 2.0 and reached < other:
            step, other = 1.0, reached
        if other < losses[-1]:
            corners[-1], losses[-1] = tries[step], other
        else:
            corners = [corners[0] + (corner - corners[0]) / 2 for corner in corners]
            losses = [losses[0], *(loss(corner) for corner in corners[1:])]
    best: Floats = corners[int(np.argmin(losses))]
    return best


def report(here: World, goal: list[Point] | None, questions: int) -> None:
    """Print one line per threshold, with residuals where there are published values."""
    alone = {f"{m.role.value}_alone": round(100 * m.solved_alone, 1) for m in (here.weak, here.strong)}
    steps = {f"{m.role.value}_step_accuracy": round(m.step_accuracy, 4) for m in (here.weak, here.strong)}
    print(json.dumps(alone | steps))
    thresholds = [point.threshold for point in goal] if goal else [round(0.05 * i, 2) for i in range(21)]
    for i, threshold in enumerate(thresholds):
        mine = sample_without_router(here, threshold, 40_000)
        row = {"threshold": threshold, "accuracy": round(mine.accuracy, 1), "calls": round(mine.calls, 2)}
        if goal:
            row["accuracy_error"] = round(mine.accuracy - goal[i].accuracy, 1)
            row["calls_error_percent"] = round(100 * (mine.calls / goal[i].calls - 1), 1) if goal[i].calls else 0.0
        if questions and i % 5 == 0:
            routed = through_router(here, threshold, questions)
            row |= {
                "accuracy_through_router": round(routed.accuracy, 1),
                "calls_through_router": round(routed.calls, 2),
            }
        print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="fit again (minutes)")
    parser.add_argument("--weak", default=WEAK)
    parser.add_argument("--strong", default=STRONG)
    parser.add_argument("--questions", type=int, default=1000, help="through the Router, at every fifth threshold")
    args = parser.parse_args()
    found = fit() if args.fit else FITTED
    known = (args.weak, args.strong) == (WEAK, STRONG)
    print(json.dumps({"fit": found.__dict__, "weak": args.weak, "strong": args.strong}))
    report(world(found, args.weak, args.strong), published() if known else None, args.questions)


if __name__ == "__main__":
    main()
