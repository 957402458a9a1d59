"""Time to solve the routing POMDP, compared with value iteration and with the paper's table of SARSOP runs.

    python -m benchmarks.pomdp_solve

CPU seconds on one core, best of several. Four questions: time and error against the grid; time against the horizon;
against value iteration on a grid over the belief simplex, as one would write it without knowing that one curve per step
is enough, at the same error; and the action table of the paper's released code (18 token bins x 30 steps x 628
beliefs, a SARSOP run of up to 20 s for each entry and price) against the same table from one solution. Last, what a
price costs a policy that has never seen it, and what a decision costs after that.

The instance is the published one where ../shared/data/calibration is present, else a made-up one of the same size.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.published_instance import FOLDER, made_up, published
from trim.policies.pomdp import PomdpPolicy
from trim.pomdp import PomdpModel, PomdpSolution, solve
from trim.types import Action, Observation

PRICE = 0.0025
SARSOP_SECONDS = 20
TABLE = (18, 30, 628)  # token bins, steps, beliefs

Floats = NDArray[np.float64]
T = TypeVar("T")


def seconds(work: Callable[[], T], repeats: int = 5) -> tuple[float, T]:
    """Least CPU seconds of several runs, and the result of the last."""
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        result = work()
        best = min(best, time.process_time() - started)
    return best, result


def show(**figures: object) -> None:
    """Print one line, numbers with three digits."""
    print(json.dumps({k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in figures.items()}), flush=True)


def fresh(model: PomdpModel) -> PomdpModel:
    """A copy of the model without cached computations."""
    return replace(model, observation=replace(model.observation))


@dataclass(frozen=True)
class SimplexGrid:
    """Value iteration over beliefs (b_C, b_R) on a triangular grid of n intervals a side, linear between its points."""

    model: PomdpModel
    price: float
    n: int

    def solve(self) -> Floats:
        """V_0 at the grid points, for drafts of `step_tokens` tokens; shape ((n + 1) (n + 2) / 2,)."""
        model, cost = self.model, self.price * self.model.step_tokens
        i, j = np.array([(i, j) for i in range(self.n + 1) for j in range(self.n + 1 - i)]).T
        correct, recoverable = i / self.n, j / self.n
        fixed = model.strong_accuracy_if_correct * correct + model.strong_accuracy_if_wrong * recoverable
        at_end = np.maximum(correct, fixed - cost)
        later = [self._futures(correct), self._futures(fixed)]
        value = np.zeros(len(i))
        for hazard in reversed(model.hazard):
            mixed = hazard * at_end + (1 - hazard) * value
            value = np.maximum(self._expect(later[0], mixed), self._expect(later[1], mixed) - cost)
        return value

    def _futures(self, kept: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Corners (3, M, O) and weights of the triangle around each posterior, times the observation's probability."""
        tables = self.model.observation.mass.reshape(3, -1)
        weak = self.model.weak_accuracy
        prior = np.stack([kept * weak, kept * (1 - weak), 1 - kept])
        joint = prior[:, :, None] * tables[:, None, :]
        chance = joint.sum(axis=0)
        x, y = joint[:2] / np.maximum(chance, 1e-300) * self.n
        i = np.minimum(x.astype(np.intp), self.n - 1)
        j = np.clip(y.astype(np.intp), 0, self.n - 1 - i)
        a, b = x - i, y - j
        upper = a + b > 1  # the triangle that points down
        corners = np.stack(
            [np.where(upper, self._at(i + 1, j + 1), self._at(i, j)), self._at(i + 1, j), self._at(i, j + 1)]
        )
        weights = np.where(upper, np.stack([a + b - 1, 1 - b, 1 - a]), np.stack([1 - a - b, a, b]))
        return corners, weights * chance

    def _at(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.intp]:
        at = i * (self.n + 1) - i * (i - 1) // 2 + j
        return np.minimum(at, (self.n + 1) * (self.n + 2) // 2 - 1)

    @staticmethod
    def _expect(future: tuple[NDArray[np.intp], Floats], value: Floats) -> Floats:
        corners, weights = future
        return sum(((value[c] * w).sum(axis=1) for c, w in zip(corners, weights, strict=True)), np.zeros(len(value)))

    def beliefs(self) -> Floats:
        """The grid points, shape (M, 3)."""
        points = [(i, j, self.n - i - j) for i in range(self.n + 1) for j in range(self.n + 1 - i)]
        return np.array(points) / self.n


def against_grid_and_horizon(model: PomdpModel, reference: PomdpSolution) -> None:
    """Time, and the widest bounds and largest error over 2,000 random beliefs."""
    beliefs = np.random.default_rng(1).dirichlet([1, 1, 1], 2000)
    exact = reference.value(0, beliefs, model.step_tokens)
    for grid in (101, 201, 401, 801, 1601):
        first, _ = seconds(partial(solve, fresh(model), PRICE, grid), 1)
        again, solution = seconds(partial(solve, model, PRICE, grid))
        lower, upper = solution.bounds(0, beliefs, model.step_tokens)
        error = float(np.abs(upper - exact).max())
        show(
            grid=grid,
            first_ms=first * 1e3,
            ms=again * 1e3,
            widest_bounds=float((upper - lower).max()),
            largest_error=error,
        )
    for horizon in (10, 30, 100, 300):
        longer = replace(model, hazard=(*(0.05,) * (horizon - 1), 1.0))
        spent, _ = seconds(partial(solve, longer, PRICE), 3)
        show(horizon=horizon, grid=401, ms=spent * 1e3)


def against_the_simplex(model: PomdpModel, reference: PomdpSolution) -> None:
    """The coarsest of our grids that is at least as exact as each simplex grid, timed beside it."""
    for n in (25, 50, 100):
        plain = SimplexGrid(model, PRICE, n)
        exact = reference.value(0, plain.beliefs(), model.step_tokens)
        simplex_seconds, value = seconds(plain.solve, 1)
        error = float(np.abs(value - exact).max())
        for grid in range(11, 1602, 10):
            ours = solve(model, PRICE, grid)
            if np.abs(ours.value(0, plain.beliefs(), model.step_tokens) - exact).max() <= error:
                break
        spent, _ = seconds(partial(solve, model, PRICE, grid))
        show(
            simplex_side=n, points=len(exact), seconds=simplex_seconds, largest_error=error,
            our_grid=grid, our_ms=spent * 1e3, ratio=simplex_seconds / spent,
        )  # fmt: skip


def against_the_table(model: PomdpModel) -> None:
    """All entries of one price."""
    bins, steps, count = TABLE
    beliefs = np.random.default_rng(0).dirichlet([1, 1, 1], count)
    tokens = np.linspace(10, 300, bins)[:, None]

    def table() -> int:
        solution = solve(model, PRICE)
        return sum(np.size(solution.action(step, beliefs, tokens)) for step in range(steps))

    spent, entries = seconds(table)
    assert entries == bins * steps * count
    show(
        entries=entries, sarsop_core_hours_at_most=entries * SARSOP_SECONDS / 3600,
        hours_on_240_cores_at_most=entries * SARSOP_SECONDS / 3600 / 240, our_seconds=spent,
    )  # fmt: skip


def through_the_policy(model: PomdpModel) -> None:
    """A new model, a new price, and decisions after 30 steps."""
    policy = PomdpPolicy(fresh(model), PRICE)
    actions = tuple(Action.REGENERATE if t % 5 == 2 else Action.CONTINUE for t in range(29))
    seen = Observation((0.9,) * 30, (60,) * 30, actions, draft_scores=((0.4,),) * 29)
    first, _ = seconds(lambda: policy.act(seen), 1)
    new_price, _ = seconds(lambda: policy.at(PRICE * 1.1).act(seen), 1)
    decisions, _ = seconds(lambda: [policy.act(seen) for _ in range(1000)])
    show(
        first_decision_of_a_model_ms=first * 1e3,
        of_a_new_price_ms=new_price * 1e3,
        decision_at_step_30_us=decisions * 1e3,
    )


def main() -> None:
    there = FOLDER.exists()
    model = published() if there else made_up()
    print(json.dumps({"instance": "published" if there else "made up", "bins": int(model.observation.mass[0].size)}))
    reference = solve(model, PRICE, 4001)
    against_grid_and_horizon(model, reference)
    against_the_simplex(model, reference)
    against_the_table(model)
    through_the_policy(model)


if __name__ == "__main__":
    main()
