"""The exact solution of the routing POMDP: one convex curve per step.

Let W_t(k) be the expected value of everything after step t when the kept prefix is right with probability k. CONTINUE
leaves k = b_C, REGENERATE k = u = b_C q_C + b_R q_R, and from there both go on alike, with a draft of the weak model.
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
    """One step back in time for all N grid points k (rows) and O observations o (columns).

    `mass` z is P(o | k); `right` z x' = k a and `fixed` z u' = k v are P(o, the prefix kept by CONTINUE, REGENERATE is
    right | k), with a = p_w P(o | C) and v = q_C p_w P(o | C) + q_R (1 - p_w) P(o | R), shapes (O,).
    """

    points: FloatArray  # (N, 1): k
    sound: FloatArray  # (O,): P(o | nothing was wrong before)
    lost: FloatArray  # (O,): P(o | something was)
    right_slope: FloatArray  # (O,): a
    fixed_slope: FloatArray  # (O,): v

    @cached_property
    def mass(self) -> FloatArray:
        return self.points * self.sound + (1 - self.points) * self.lost

    @cached_property
    def right(self) -> FloatArray:
        return self.points * self.right_slope

    @cached_property
    def fixed(self) -> FloatArray:
        return self.points * self.fixed_slope

    @cached_property
    def right_at(self) -> Interpolation:
        return Interpolation.of(self.right, self.mass, len(self.points))

    @cached_property
    def fixed_at(self) -> Interpolation:
        return Interpolation.of(self.fixed, self.mass, len(self.points))

    @cached_property
    def table_at(self) -> TableLookup:
        return TableLookup.of(self.right, self.points * (self.sound - self.right_slope), (1 - self.points) * self.lost)


@lru_cache(maxsize=4)
def _backup(model: PomdpModel, grid: int, *, final: bool = False) -> _Backup:
    """Over drafts that end the solution, or over others; one object where those are alike."""
    if final and model.final_accuracy is None:
        return _backup(model, grid)
    accuracy = model.draft_accuracy(final=final)
    correct, recoverable, lost = model.observation.mass.reshape(3, -1)
    seen = correct + recoverable + lost > 0
    right = accuracy * correct[seen]
    slip = (1 - accuracy) * recoverable[seen]
    return _Backup(
        points=np.linspace(0.0, 1.0, grid)[:, None],
        sound=right + slip,
        lost=lost[seen],
        right_slope=right,
        fixed_slope=model.after_right * right + model.after_wrong * slip,
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
        draft_cost: what one more draft and its score cost (weak and PRM tokens), in correct answers.
        resamples: how often RESAMPLE may follow a first draft (see `trim.pomdp.resampling`); the model must know of
        resamples.
        revisions: how often what the strong model wrote may be written again; the model must know of `revise`.

    Raises:
        ConfigError: a negative price or cost, fewer than two grid points, or resamples or revised steps that the model
            knows nothing of.
    """
    if not (price >= 0 and draft_cost >= 0 and np.isfinite(price) and np.isfinite(draft_cost)):
        raise ConfigError(f"POMDP: price and draft_cost must be finite and not negative: {price}, {draft_cost}")
    if grid < 2:
        raise ConfigError(f"POMDP: a curve needs at least two grid points, not {grid}")
    if resamples < 0 or (resamples and model.resamples is None):
        raise ConfigError(f"POMDP: {resamples} resamples need a model fitted to traces with resamples")
    if revisions < 0 or (revisions and model.revise is None):
        raise ConfigError(f"POMDP: {revisions} revised texts need a model fitted to traces with revised steps")
    hazard = np.array(model.hazard if model.hazard[-1] == 1.0 else (*model.hazard, 1.0))
    alone = _strong_alone(model, hazard)
    ordinary, ending = _backup(model, grid), _backup(model, grid, final=True)
    cost = price * model.step_tokens
    charge = ordinary.mass * cost, ending.mass * cost
    keep, other, work = (np.empty_like(ordinary.mass) for _ in range(3))
    curves = np.empty((len(hazard), grid))
    again = np.empty((len(hazard) + 1, resamples, 2, SIDE * SIDE))
    revise: list[ReviseTables | None] = [None] * (len(hazard) + 1)

    def tabulate(step: int, curve: FloatArray) -> None:
        """What depends on a belief about the text on the table, at the step that this curve follows."""
        instead = (alone.success[step], alone.steps[step] * cost) if take_over and step < len(hazard) else None
        if revisions:
            revise[step] = ReviseTables.of(model, curve, revisions, cost)
        if resamples:
            again[step] = resample_tables(
                model, curve, resamples, cost=cost, draft_cost=draft_cost, alone=instead, revise=revise[step]
            )

    def play(step: int, curve: FloatArray) -> FloatArray:
        """E[the best that can be done with the draft at this step], for each grid point; past the end: a final one."""
        final = step == len(hazard)
        backup, charged = (ending, charge[1]) if final else (ordinary, charge[0])
        tabulate(step, curve)
        backup.right_at.apply(curve, keep, work)
        if (tables := revise[step]) is None:
            backup.fixed_at.apply(curve, other, work)
        else:
            backup.table_at.apply(tables.first, other, work)
        np.subtract(other, charged, out=other)
        np.maximum(keep, other, out=keep)
        if take_over and not final:
            np.multiply(backup.fixed, alone.success[step], out=other)
            np.multiply(charged, alone.steps[step], out=work)
            np.subtract(other, work, out=other)
            np.maximum(keep, other, out=keep)
        if resamples:
            backup.table_at.apply(again[step, 0, 0], other, work)
            np.maximum(keep, other, out=keep)
        expected: FloatArray = keep.sum(axis=1)
        return expected

    at_end = play(len(hazard), ordinary.points[:, 0])
    curves[-1] = at_end - draft_cost
    for step in range(len(hazard) - 2, -1, -1):
        later = play(step + 1, curves[step + 1])
        curves[step] = hazard[step] * at_end + (1 - hazard[step]) * later - draft_cost
    tabulate(0, curves[0])
    return PomdpSolution(model, price, take_over, draft_cost, resamples, hazard, alone, curves, again, tuple(revise))


@dataclass(frozen=True, eq=False)
class _StrongAlone:
    """The strong model from a draft that is not final on: P(all later steps right) and expected steps, this one too."""

    success: FloatArray
    steps: FloatArray


def _strong_alone(model: PomdpModel, hazard: FloatArray) -> _StrongAlone:
    end = model.draft_accuracy(final=True)
    at_end = end * model.after_right + (1 - end) * model.after_wrong
    success, steps = np.full(len(hazard), at_end), np.full(len(hazard), 2.0)
    for t in range(len(hazard) - 2, -1, -1):
        success[t] = hazard[t] * at_end + (1 - hazard[t]) * model.strong_accuracy * success[t + 1]
        steps[t] = 2.0 + (1 - hazard[t]) * (steps[t + 1] - 1.0)
    return _StrongAlone(success, steps)


@dataclass(frozen=True, eq=False)
class PomdpSolution:
    """What `solve` found. Beliefs are arrays of shape (..., 3) in the order (CORRECT, RECOVERABLE, LOST); tokens
    broadcast against (...). Steps count from 0; those past the hazard's end are treated as its last.

    `curves` has shape (steps, grid): W_t at evenly spaced k in [0, 1], in correct answers. `again` has shape
    (steps + 1, resamples, 2, SIDE * SIDE), the tables of `trim.pomdp.resampling`, the last for a final draft; `revise`
    has as many entries, None where strong steps are not revised.

    Methods raise `ConfigError` for a negative step or beliefs that are no distributions.
    """

    model: PomdpModel
    price: float
    take_over: bool
    draft_cost: float
    resamples: int
    hazard: FloatArray
    alone: _StrongAlone
    curves: FloatArray
    again: FloatArray
    revise: tuple[ReviseTables | None, ...]

    def gain(self, step: int, belief: ArrayLike, *, final: bool = False) -> FloatArray:
        """What REGENERATE is worth above CONTINUE before its own cost, in correct answers. Shape (...)."""
        keep, rewrite = self._values(step, belief, 0, final=final)[:2]
        gain: FloatArray = rewrite - keep
        return gain

    def action(
        self,
        step: int,
        belief: ArrayLike,
        tokens: ArrayLike,
        *,
        final: bool = False,
        drafts: int = 1,
        mixed: bool = False,
        strong_texts: int = 0,
    ) -> Action | NDArray[np.object_]:
        """The best action for a draft of so many tokens, the best of `drafts` so far, or for the strong model's text,
        the best of `strong_texts`; `mixed` if those differ. An array of actions where beliefs or tokens are arrays.
        """
        values = self._values(step, belief, tokens, final=final, drafts=drafts, mixed=mixed, strong_texts=strong_texts)
        best = np.argmax(values, axis=0)
        choice: Action | NDArray[np.object_] = (_STRONG_ACTIONS if strong_texts else _ACTIONS)[best]
        return choice

    def value(self, step: int, belief: ArrayLike, tokens: ArrayLike, *, final: bool = False) -> FloatArray:
        """Expected correct answers minus what is still to be paid, acting optimally; the upper one of the bounds."""
        best: FloatArray = self._values(step, belief, tokens, final=final).max(axis=0)
        return best

    def bounds(
        self, step: int, belief: ArrayLike, tokens: ArrayLike, *, final: bool = False
    ) -> tuple[FloatArray, FloatArray]:
        """Values that the optimum is certainly not below and not above; both have shape (...). With resamples or
        revised steps the lower one is that of never asking twice, and the upper one as good as the table's grid.
        """
        lower: FloatArray = self._values(step, belief, tokens, final=final, lower=True).max(axis=0)
        upper = self.value(step, belief, tokens, final=final)
        return np.minimum(lower, upper), upper  # where both are exact, rounding may swap them

    def _prefix(self, belief: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """P(the kept prefix is right) after CONTINUE and after REGENERATE."""
        b = np.asarray(belief, dtype=float)
        if b.shape[-1:] != (3,) or not (b.min(initial=0.0) >= 0 and np.abs(b.sum(axis=-1) - 1).max(initial=0) < 1e-6):
            raise ConfigError(f"beliefs are (CORRECT, RECOVERABLE, LOST), not negative and with sum 1: {b}")
        kept = b[..., 0]
        return kept, self.model.after_right * kept + self.model.after_wrong * b[..., 1]

    def _values(
        self,
        step: int,
        belief: ArrayLike,
        tokens: ArrayLike,
        *,
        final: bool,
        lower: bool = False,
        drafts: int = 1,
        mixed: bool = False,
        strong_texts: int = 0,
    ) -> FloatArray:
        """Value of each of `_ACTIONS`, shape (actions, ...); -inf where it is none."""
        kept, fixed = self._prefix(belief)
        seen = np.asarray(belief, dtype=float)
        cost = self.price * np.asarray(tokens, dtype=float)
        at = self._index(step)
        table = self.revise[-1 if final else at]
        keep, rewrite = (kept, fixed) if final else (self._curve(step, k, lower=lower) for k in (kept, fixed))
        values: list[FloatArray | float] = [keep, rewrite - cost, -np.inf]
        if strong_texts:
            values[1] = -np.inf
            if table is not None and strong_texts <= len(table.again) and not lower:
                values[1] = lookup(table.again[strong_texts - 1, int(mixed)], seen) - cost
            return np.stack(np.broadcast_arrays(*values))
        if table is not None and not lower:
            values[1] = lookup(table.first, seen) - cost
        if self.take_over and not final:
            later = (self.alone.steps[at] - 1) * self.price * self.model.step_tokens
            values[2] = fixed * self.alone.success[at] - cost - later
        if drafts <= self.resamples and not lower:
            values.append(lookup(self.again[-1 if final else at, drafts - 1, int(mixed)], seen))
        return np.stack(np.broadcast_arrays(*values))

    def _curve(self, step: int, k: FloatArray, *, lower: bool) -> FloatArray:
        return self._lower(step, k) if lower else self._upper(step, k)

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

        Line n of step t is what the plan earns that is best at k_n as judged by the lines of step t + 1: per
        observation keep, rewrite or take over, and go on with the line next to the posterior.
        """
        backup = _backup(self.model, self.curves.shape[1])
        cost = self.price * self.model.step_tokens
        lines = np.empty((2, *self.curves.shape))
        lines[:, -1] = ends = self._best_plan(_Lines(0.0, 1.0), _Lines(-cost, 1.0), final=True)
        for t in range(len(self.hazard) - 2, -1, -1):
            start, slope = lines[:, t + 1]
            keep = _Lines(start[backup.right_at.nearest], slope[backup.right_at.nearest])
            rewrite = _Lines(start[backup.fixed_at.nearest] - cost, slope[backup.fixed_at.nearest])
            if self.take_over:
                alone = _Lines(-cost * self.alone.steps[t + 1], self.alone.success[t + 1])
                better = alone.of(backup.fixed, backup.mass) > rewrite.of(backup.fixed, backup.mass)
                rewrite = _Lines(
                    np.where(better, alone.start, rewrite.start), np.where(better, alone.slope, rewrite.slope)
                )
            later = self._best_plan(keep, rewrite)
            lines[:, t] = self.hazard[t] * ends + (1 - self.hazard[t]) * later
        return lines

    def _best_plan(self, keep: _Lines, rewrite: _Lines, *, final: bool = False) -> FloatArray:
        """For each grid point the better of two ways for each observation, as one line in k; shape (2, grid)."""
        backup = _backup(self.model, self.curves.shape[1], final=final)
        chosen = rewrite.of(backup.fixed, backup.mass) > keep.of(backup.right, backup.mass)
        constant = np.where(chosen, rewrite.start, keep.start)
        on_right, on_fixed = np.where(chosen, 0.0, keep.slope), np.where(chosen, rewrite.slope, 0.0)
        start = constant @ backup.lost
        slope = constant @ (backup.sound - backup.lost) + on_right @ backup.right_slope + on_fixed @ backup.fixed_slope
        return np.stack([start - self.draft_cost, slope])


@dataclass(frozen=True, eq=False)
class _Lines:
    """start + slope k; numbers or arrays of shape (N, O)."""

    start: FloatArray | float
    slope: FloatArray | float

    def of(self, part: FloatArray, mass: FloatArray) -> FloatArray:
        """Mass times the lines at part / mass."""
        return self.start * mass + self.slope * part
