"""The exact solution of the routing POMDP: one convex curve per step.

Let W_t(k) be the expected value of everything after step t when the kept prefix is correct with probability k. CONTINUE
leaves k = b_C, REGENERATE k = u = b_C q_C + b_R q_R, and from there both proceed alike, with a draft of the weak model.
So one curve serves both actions, and the whole solution is these curves:

    REGENERATE  iff  W_t(u) - price * tokens > W_t(b_C)
    W_t(k) = h_t E_o[ max(x', u' - cost) ] + (1 - h_t) E_o[ max(W_{t+1}(x'), W_{t+1}(u') - cost) ]

with h_t = hazard[t], cost = price * step_tokens, o the observation of the next draft, x' its P(CORRECT | o) and u' the
same after REGENERATE, where a final draft has an accuracy of its own. Posteriors don't depend on t or price: where they
fall on the grid is worked out once per model.

W_t is convex (a maximum of linear functions of k) and W_t(0) <= W_t(k). Linear interpolation between grid points
therefore never underestimates, and the tangents at grid points never overestimate: `PomdpSolution.bounds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trim.errors import ConfigError
from trim.pomdp.model import PomdpModel
from trim.pomdp.observation import FloatArray
from trim.pomdp.resampling import SIDE, Interpolation, ReviseTables, TableLookup, lookup, resample_tables
from trim.types import Action

_ACTIONS = np.array([Action.CONTINUE, Action.REGENERATE, Action.TAKE_OVER, Action.RESAMPLE], dtype=object)
_STRONG_ACTIONS = np.array([Action.CONTINUE, Action.REVISE, Action.TAKE_OVER], dtype=object)


@dataclass(frozen=True, eq=False)
class _Backup:
    """A Bellman backup over one step for all N grid points k (rows) and O observations o (columns).

    `mass` is P(o | k); `keep` and `regenerate` are P(o, the prefix is correct after CONTINUE, after REGENERATE | k).
    The latter two are k times a slope, p_w P(o | C) and q_C p_w P(o | C) + q_R (1 - p_w) P(o | R), shapes (O,).
    """

    points: FloatArray  # (N, 1): k
    if_correct: FloatArray  # (O,): P(o | the prefix is correct)
    if_lost: FloatArray  # (O,): P(o | it is not)
    keep_slope: FloatArray  # (O,)
    regenerate_slope: FloatArray  # (O,)

    @cached_property
    def mass(self) -> FloatArray:
        return self.points * self.if_correct + (1 - self.points) * self.if_lost

    @cached_property
    def keep(self) -> FloatArray:
        return self.points * self.keep_slope

    @cached_property
    def regenerate(self) -> FloatArray:
        return self.points * self.regenerate_slope

    @cached_property
    def keep_at(self) -> Interpolation:
        return Interpolation.of(self.keep, self.mass, len(self.points))

    @cached_property
    def regenerate_at(self) -> Interpolation:
        return Interpolation.of(self.regenerate, self.mass, len(self.points))

    @cached_property
    def table_at(self) -> TableLookup:
        recoverable = self.points * (self.if_correct - self.keep_slope)
        return TableLookup.of(self.keep, recoverable, (1 - self.points) * self.if_lost)


@lru_cache(maxsize=4)
def _backup(model: PomdpModel, grid: int, *, final: bool = False) -> _Backup:
    """Over drafts that end the solution, or over others; one object where those are alike."""
    if final and model.final_accuracy is None:
        return _backup(model, grid)
    accuracy = model.draft_accuracy(final=final)
    correct, recoverable, lost = model.observation.mass.reshape(3, -1)
    seen = correct + recoverable + lost > 0
    right = accuracy * correct[seen]
    wrong = (1 - accuracy) * recoverable[seen]
    return _Backup(
        points=np.linspace(0.0, 1.0, grid)[:, None],
        if_correct=right + wrong,
        if_lost=lost[seen],
        keep_slope=right,
        regenerate_slope=model.strong_accuracy_if_correct * right + model.strong_accuracy_if_wrong * wrong,
    )


def solve(
    model: PomdpModel,
    price: float,
    grid: int = 401,
    *,
    take_over: bool = False,
    draft_cost: float = 0.0,
    resamples: int = 0,
    revisions: int = 0,
) -> PomdpSolution:
    """Solve for every belief, step and number of tokens at once.

    Args:
        model: what is known of the pair and the task.
        price: lambda, the price of one strong token in correct answers.
        grid: points per curve; more take longer in proportion and narrow the bounds.
        take_over: TAKE_OVER is a third action. With a `draft_cost` of 0 it is never better than REGENERATE, which can
            do the same step by step.
        draft_cost: what one more draft and its score cost (weak and judge tokens), in correct answers.
        resamples: how often RESAMPLE may follow a first draft (see `trim.pomdp.resampling`); needs a `resample_model`.
        revisions: how often the strong model's text may be revised; needs a `revise_model`.

    Raises:
        ConfigError: a negative price or cost, fewer than two grid points, or resamples or revisions without a model of
            them.
    """
    if not (price >= 0 and draft_cost >= 0 and np.isfinite(price) and np.isfinite(draft_cost)):
        raise ConfigError(f"POMDP: price and draft_cost must be finite and not negative: {price}, {draft_cost}")
    if grid < 2:
        raise ConfigError(f"POMDP: a curve needs at least two grid points, not {grid}")
    if resamples < 0 or (resamples and model.resample_model is None):
        raise ConfigError(f"POMDP: {resamples} resamples need a model fitted to traces with resamples")
    if revisions < 0 or (revisions and model.revise_model is None):
        raise ConfigError(f"POMDP: {revisions} revisions need a model fitted to traces with revised steps")
    hazard = np.array(model.hazard if model.hazard[-1] == 1.0 else (*model.hazard, 1.0))
    strong_only = _strong_only(model, hazard)
    cost, alone = price * model.step_tokens, strong_only if take_over else None
    tables = _StepTables(model, len(hazard), cost, draft_cost, alone, resamples, revisions)
    induction = _BackwardInduction(model, grid, tables)
    curves = np.empty((len(hazard), grid))
    at_end = induction.play(len(hazard), _backup(model, grid).points[:, 0])
    curves[-1] = at_end - draft_cost
    for step in range(len(hazard) - 2, -1, -1):
        later = induction.play(step + 1, curves[step + 1])
        curves[step] = hazard[step] * at_end + (1 - hazard[step]) * later - draft_cost
    tables.fill(0, curves[0])
    further = tables.resample, tuple(tables.revise)
    return PomdpSolution(model, price, take_over, draft_cost, resamples, hazard, strong_only, curves, *further)


@dataclass(frozen=True, eq=False)
class _StrongOnly:
    """The strong model alone from a draft that is not final: P(all later steps are correct), and expected steps, the
    draft's own included; shapes (steps,).
    """

    success: FloatArray
    steps: FloatArray


def _strong_only(model: PomdpModel, hazard: FloatArray) -> _StrongOnly:
    end = model.draft_accuracy(final=True)
    at_end = end * model.strong_accuracy_if_correct + (1 - end) * model.strong_accuracy_if_wrong
    success, steps = np.full(len(hazard), at_end), np.full(len(hazard), 2.0)
    for t in range(len(hazard) - 2, -1, -1):
        success[t] = hazard[t] * at_end + (1 - hazard[t]) * model.strong_accuracy * success[t + 1]
        steps[t] = 2.0 + (1 - hazard[t]) * (steps[t + 1] - 1.0)
    return _StrongOnly(success, steps)


@dataclass(eq=False)
class _StepTables:
    """Values that depend on the belief about the text on the table, by step; the last entry is for a final draft."""

    model: PomdpModel
    steps: int
    cost: float  # of a strong step
    draft_cost: float
    strong_only: _StrongOnly | None
    resamples: int
    revisions: int

    def __post_init__(self) -> None:
        self.resample = np.empty((self.steps + 1, self.resamples, 2, SIDE * SIDE))
        self.revise: list[ReviseTables | None] = [None] * (self.steps + 1)

    def take_over(self, step: int) -> tuple[float, float] | None:
        """P(all later steps are correct) and the cost of TAKE_OVER; None where it is not available."""
        if self.strong_only is None or step == self.steps:
            return None
        return self.strong_only.success[step], self.strong_only.steps[step] * self.cost

    def fill(self, step: int, curve: FloatArray) -> None:
        """Tabulate a step that this curve follows."""
        if self.revisions:
            self.revise[step] = ReviseTables.of(self.model, curve, self.revisions, self.cost)
        if self.resamples:
            self.resample[step] = resample_tables(
                self.model,
                curve,
                self.resamples,
                cost=self.cost,
                draft_cost=self.draft_cost,
                take_over=self.take_over(step),
                revise=self.revise[step],
            )


class _BackwardInduction:
    """Values of a step's draft from the curve that follows it. Its work arrays are reused from step to step."""

    def __init__(self, model: PomdpModel, grid: int, tables: _StepTables) -> None:
        self._ordinary, self._final = _backup(model, grid), _backup(model, grid, final=True)
        self._charges = self._ordinary.mass * tables.cost, self._final.mass * tables.cost
        self._best, self._other, self._work = (np.empty_like(self._ordinary.mass) for _ in range(3))
        self._tables = tables

    def play(self, step: int, curve: FloatArray) -> FloatArray:
        """E[value of the best action on the draft at this step], for each grid point; past the end: a final draft."""
        tables, best, other, work = self._tables, self._best, self._other, self._work
        final = step == tables.steps
        backup, charge = (self._final, self._charges[1]) if final else (self._ordinary, self._charges[0])
        tables.fill(step, curve)
        backup.keep_at.apply(curve, best, work)
        if (revise := tables.revise[step]) is None:
            backup.regenerate_at.apply(curve, other, work)
        else:
            backup.table_at.apply(revise.regenerate, other, work)
        np.subtract(other, charge, out=other)
        np.maximum(best, other, out=best)
        if tables.strong_only is not None and not final:
            np.multiply(backup.regenerate, tables.strong_only.success[step], out=other)
            np.multiply(charge, tables.strong_only.steps[step], out=work)
            np.subtract(other, work, out=other)
            np.maximum(best, other, out=best)
        if tables.resamples:
            backup.table_at.apply(tables.resample[step, 0, 0], other, work)
            np.maximum(best, other, out=best)
        expected: FloatArray = best.sum(axis=1)
        return expected


@dataclass(frozen=True, eq=False)
class PomdpSolution:
    """What `solve` returns: values and actions for every belief, step and number of tokens.

    Beliefs are arrays of shape (..., 3) in the order (CORRECT, RECOVERABLE, LOST); tokens broadcast against (...).
    Steps count from 0; those past the hazard's end are treated as its last.

    `curves` has shape (steps, grid): W_t at evenly spaced k in [0, 1], in correct answers. `resample` has shape
    (steps + 1, resamples, 2, SIDE * SIDE), the tables of `trim.pomdp.resampling`, the last for a final draft; `revise`
    has as many entries, None where strong steps are not revised.

    Methods raise `ConfigError` for a negative step or beliefs that are not distributions.
    """

    model: PomdpModel
    price: float
    take_over: bool
    draft_cost: float
    resamples: int
    hazard: FloatArray
    strong_only: _StrongOnly
    curves: FloatArray
    resample: FloatArray
    revise: tuple[ReviseTables | None, ...]

    def gain(self, step: int, belief: ArrayLike, *, final: bool = False) -> FloatArray:
        """The value of REGENERATE over CONTINUE before its own cost, in correct answers. Shape (...)."""
        keep, regenerate = self._values(step, belief, 0, final=final)[:2]
        gain: FloatArray = regenerate - keep
        return gain

    def action(
        self,
        step: int,
        belief: ArrayLike,
        tokens: ArrayLike,
        *,
        final: bool = False,
        drafts: int = 1,
        differing: bool = False,
        strong_texts: int = 0,
    ) -> Action | NDArray[np.object_]:
        """The best action for the text on the table, of so many tokens.

        That is a draft, the best of `drafts` so far, or the strong model's text, the best of `strong_texts`;
        `differing` says whether those differ. An array of actions where beliefs or tokens are arrays.
        """
        values = self._values(
            step, belief, tokens, final=final, drafts=drafts, differing=differing, strong_texts=strong_texts
        )
        best = np.argmax(values, axis=0)
        choice: Action | NDArray[np.object_] = (_STRONG_ACTIONS if strong_texts else _ACTIONS)[best]
        return choice

    def value(self, step: int, belief: ArrayLike, tokens: ArrayLike, *, final: bool = False) -> FloatArray:
        """Expected correct answers minus costs to come, acting optimally; the upper one of the bounds."""
        best: FloatArray = self._values(step, belief, tokens, final=final).max(axis=0)
        return best

    def bounds(
        self, step: int, belief: ArrayLike, tokens: ArrayLike, *, final: bool = False
    ) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bounds of the optimal value, both of shape (...).

        With resamples or revisions the lower one is the value of never asking for a second text, and the upper one is
        as accurate as the table's grid.
        """
        lower: FloatArray = self._values(step, belief, tokens, final=final, lower=True).max(axis=0)
        upper = self.value(step, belief, tokens, final=final)
        return np.minimum(lower, upper), upper  # where both are exact, rounding may swap them

    def _prefix(self, belief: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """P(the kept prefix is correct) after CONTINUE and after REGENERATE."""
        b = np.asarray(belief, dtype=float)
        if b.shape[-1:] != (3,) or not (b.min(initial=0.0) >= 0 and np.abs(b.sum(axis=-1) - 1).max(initial=0) < 1e-6):
            raise ConfigError(f"beliefs are (CORRECT, RECOVERABLE, LOST), not negative and with a sum of 1: {b}")
        kept = b[..., 0]
        return kept, self.model.strong_accuracy_if_correct * kept + self.model.strong_accuracy_if_wrong * b[..., 1]

    def _values(
        self,
        step: int,
        belief: ArrayLike,
        tokens: ArrayLike,
        *,
        final: bool,
        lower: bool = False,
        drafts: int = 1,
        differing: bool = False,
        strong_texts: int = 0,
    ) -> FloatArray:
        """Value of each of `_ACTIONS` or `_STRONG_ACTIONS`, shape (actions, ...); -inf where it is not available."""
        kept, fixed = self._prefix(belief)
        seen = np.asarray(belief, dtype=float)
        cost = self.price * np.asarray(tokens, dtype=float)
        at = self._index(step)
        table = self.revise[-1 if final else at]
        curve = self._lower if lower else self._upper
        keep, regenerate = (kept, fixed) if final else (curve(step, kept), curve(step, fixed))
        values: list[FloatArray | float] = [keep, regenerate - cost, -np.inf]
        if strong_texts:
            values[1] = -np.inf
            if table is not None and strong_texts <= len(table.revise) and not lower:
                values[1] = lookup(table.revise[strong_texts - 1, int(differing)], seen) - cost
            return np.stack(np.broadcast_arrays(*values))
        if table is not None and not lower:
            values[1] = lookup(table.regenerate, seen) - cost
        if self.take_over and not final:
            later = (self.strong_only.steps[at] - 1) * self.price * self.model.step_tokens
            values[2] = fixed * self.strong_only.success[at] - cost - later
        if drafts <= self.resamples and not lower:
            values.append(lookup(self.resample[-1 if final else at, drafts - 1, int(differing)], seen))
        return np.stack(np.broadcast_arrays(*values))

    def _index(self, step: int) -> int:
        if step < 0:
            raise ConfigError(f"steps count from 0, not {step}")
        return min(step, len(self.curves) - 1)

    def _upper(self, step: int, k: FloatArray) -> FloatArray:
        curve = self.curves[self._index(step)]
        position = k * (len(curve) - 1)
        below = np.clip(position, 0, len(curve) - 2).astype(np.intp)
        value: FloatArray = curve[below] + (position - below) * (curve[below + 1] - curve[below])
        return value

    def _lower(self, step: int, k: FloatArray) -> FloatArray:
        start, slope = self._tangents[:, self._index(step)]
        near = np.rint(k * (len(start) - 1)).astype(np.intp)
        value: FloatArray = start[near] + slope[near] * k
        return value

    @cached_property
    def _tangents(self) -> FloatArray:
        """Lines start + slope k below W_t that touch a lower bound of it at each grid point; shape (2, steps, grid).

        Line n of step t is the value of the plan that is best at k_n by the lines of step t + 1: per
        observation keep, regenerate or take over, and proceed with the line next to the posterior.
        """
        backup = _backup(self.model, self.curves.shape[1])
        cost = self.price * self.model.step_tokens
        lines = np.empty((2, *self.curves.shape))
        lines[:, -1] = ends = self._best_plan(_Lines(0.0, 1.0), _Lines(-cost, 1.0), final=True)
        for t in range(len(self.hazard) - 2, -1, -1):
            start, slope = lines[:, t + 1]
            keep = _Lines(start[backup.keep_at.nearest], slope[backup.keep_at.nearest])
            regenerate = _Lines(start[backup.regenerate_at.nearest] - cost, slope[backup.regenerate_at.nearest])
            if self.take_over:
                alone = _Lines(-cost * self.strong_only.steps[t + 1], self.strong_only.success[t + 1])
                mass, fixed = backup.mass, backup.regenerate
                better = alone.of(fixed, mass) > regenerate.of(fixed, mass)
                regenerate = _Lines(
                    np.where(better, alone.start, regenerate.start), np.where(better, alone.slope, regenerate.slope)
                )
            later = self._best_plan(keep, regenerate)
            lines[:, t] = self.hazard[t] * ends + (1 - self.hazard[t]) * later
        return lines

    def _best_plan(self, keep: _Lines, regenerate: _Lines, *, final: bool = False) -> FloatArray:
        """For each grid point the better action for each observation, as one line in k; shape (2, grid)."""
        backup = _backup(self.model, self.curves.shape[1], final=final)
        chosen = regenerate.of(backup.regenerate, backup.mass) > keep.of(backup.keep, backup.mass)
        constant = np.where(chosen, regenerate.start, keep.start)
        kept, fixed = np.where(chosen, 0.0, keep.slope), np.where(chosen, regenerate.slope, 0.0)
        start = constant @ backup.if_lost
        slope = (
            constant @ (backup.if_correct - backup.if_lost) + kept @ backup.keep_slope + fixed @ backup.regenerate_slope
        )
        return np.stack([start - self.draft_cost, slope])


@dataclass(frozen=True, eq=False)
class _Lines:
    """Linear functions start + slope k; numbers or arrays of shape (N, O)."""

    start: FloatArray | float
    slope: FloatArray | float

    def of(self, part: FloatArray, mass: FloatArray) -> FloatArray:
        """Values mass * line(part / mass), shape (N, O)."""
        return self.start * mass + self.slope * part
