"""RETRY in the POMDP: what another draft of the same step is worth, for any belief about the best draft so far.

A retried step has two unknowns, whether the kept prefix is right and whether the best draft is, so the value is no
longer one-dimensional: `Table` holds it on a grid over (P(prefix right), P(best draft right | prefix right)) and
interpolates. The Router keeps the better-scored draft; here that is the one that is right more probably. After a second
retry the drafts before the best one are forgotten, which is an approximation; a first retry is exact up to the grid.
Scores are taken from P(score | state), blind to the min of the scores before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from trim.pomdp.model import PomdpModel
from trim.pomdp.observation import FloatArray

SIDE = 33  # grid points per axis of the table


@dataclass(frozen=True, eq=False)
class Interpolation:
    """mass * W(part / mass) for a curve W on an even grid: a gather and a weighted sum. All arrays of one shape."""

    below: NDArray[np.intp]
    above: NDArray[np.intp]
    weight_below: FloatArray
    weight_above: FloatArray

    @classmethod
    def of(cls, part: FloatArray, mass: FloatArray, grid: int) -> Interpolation:
        """Where part / mass falls on a curve of so many points."""
        position = part / np.maximum(mass, np.finfo(float).tiny) * (grid - 1)
        below = np.clip(position, 0, grid - 2).astype(np.intp)
        weight_above = (position - below) * mass
        return cls(below, below + 1, mass - weight_above, weight_above)

    def apply(self, curve: FloatArray, out: FloatArray, work: FloatArray) -> None:
        """Write the values to `out`; `work` is overwritten."""
        np.take(curve, self.below, out=out, mode="clip")
        out *= self.weight_below
        np.take(curve, self.above, out=work, mode="clip")
        work *= self.weight_above
        out += work

    @cached_property
    def nearest(self) -> NDArray[np.intp]:
        """The grid point next to part / mass."""
        return self.below + (self.weight_above > self.weight_below)


@dataclass(frozen=True, eq=False)
class TableLookup:
    """mass * R(belief) for a table R of shape (SIDE * SIDE,), bilinear; beliefs as masses of one shape."""

    corner: NDArray[np.intp]
    weights: tuple[FloatArray, FloatArray, FloatArray, FloatArray]

    @classmethod
    def of(cls, right: FloatArray, wrong: FloatArray, lost: FloatArray) -> TableLookup:
        """For P(state, observation): the best draft is right, it is the first wrong step, something before is wrong."""
        tiny, last = np.finfo(float).tiny, SIDE - 1
        sound = right + wrong
        mass = sound + lost
        row = sound / np.maximum(mass, tiny) * last
        column = right / np.maximum(sound, tiny) * last
        i, j = (np.clip(value, 0, last - 1).astype(np.intp) for value in (row, column))
        down, across = row - i, column - j
        upper, lower = mass * (1 - down), mass * down
        weights = (upper * (1 - across), upper * across, lower * (1 - across), lower * across)
        return cls(i * SIDE + j, weights)

    def apply(self, table: FloatArray, out: FloatArray, work: FloatArray) -> None:
        """Write the values to `out`; `work` is overwritten."""
        for n, (offset, weight) in enumerate(zip((0, 1, SIDE, SIDE + 1), self.weights, strict=True)):
            target = work if n else out
            np.take(table[offset:], self.corner, out=target, mode="clip")
            target *= weight
            if n:
                out += work


@dataclass(frozen=True, eq=False)
class Another:
    """All that may come of one more draft, for each belief of the table (rows): it repeats the draft on the table, or
    it differs and has one of the scores (columns). `right`, `fixed`, `mass` are P(the draft that is then kept is
    right), P(a strong step in its place is right) and P(the outcome); shapes (SIDE * SIDE, scores + 1).
    """

    right: FloatArray
    fixed: FloatArray
    mass: FloatArray
    table_at: TableLookup

    @classmethod
    def of(cls, model: PomdpModel) -> Another:
        """For the model's retries."""
        again = model.retries
        assert again is not None
        axis = np.linspace(0.0, 1.0, SIDE)
        sound, share = (part.reshape(-1, 1) for part in np.meshgrid(axis, axis, indexing="ij"))
        right, wrong, lost = sound * share, sound * (1 - share), 1 - sound
        if_right, if_wrong, if_lost = model.observation.mass.sum(axis=1)
        new = [belief * (1 - same) for belief, same in zip((right, wrong, lost), again.same, strict=True)]
        both = new[0] * again.after_right * if_right
        old_alone = new[0] * (1 - again.after_right) * if_wrong
        new_alone = new[1] * again.after_wrong * if_right
        neither = new[1] * (1 - again.after_wrong) * if_wrong
        best = both + np.maximum(old_alone, new_alone)
        same = [belief * same for belief, same in zip((right, wrong, lost), again.same, strict=True)]
        right = np.hstack([same[0], best])
        wrong = np.hstack([same[1], both + old_alone + new_alone + neither - best])
        lost = np.hstack([same[2], new[2] * if_lost])
        fixed = model.after_right * right + model.after_wrong * wrong
        return cls(right, fixed, right + wrong + lost, TableLookup.of(right, wrong, lost))

    @lru_cache(maxsize=8)  # noqa: B019  (as many as there are models in use)
    def on(self, grid: int) -> tuple[Interpolation, Interpolation]:
        """Where `right` and `fixed` fall on a curve of so many points."""
        return Interpolation.of(self.right, self.mass, grid), Interpolation.of(self.fixed, self.mass, grid)


@lru_cache(maxsize=2)
def another(model: PomdpModel) -> Another:
    """Worked out once per model."""
    return Another.of(model)


def retry_tables(
    model: PomdpModel,
    curve: FloatArray,
    retries: int,
    *,
    cost: float,
    draft_cost: float,
    alone: tuple[float, float] | None,
) -> FloatArray:
    """Row n: the value of RETRY by the belief about the best of n + 1 drafts, shape (retries, SIDE * SIDE).

    Args:
        model: with its `retries`.
        curve: the value of going on with a prefix that is right with this probability.
        retries: drafts that may still follow the first.
        cost: of REGENERATE.
        draft_cost: of a draft and its score.
        alone: TAKE_OVER's P(all later steps are right) and what it costs; None where it is no action.
    """
    outcome = another(model)
    keep_at, rewrite_at = outcome.on(len(curve))
    value, other, work = (np.empty_like(outcome.mass) for _ in range(3))
    keep_at.apply(curve, value, work)
    rewrite_at.apply(curve, other, work)
    np.maximum(value, other - cost * outcome.mass, out=value)
    if alone is not None:
        np.maximum(value, outcome.fixed * alone[0] - outcome.mass * alone[1], out=value)
    tables = np.empty((retries, SIDE * SIDE))
    best = value
    for n in reversed(range(retries)):
        tables[n] = best.sum(axis=1) - draft_cost
        if n:
            outcome.table_at.apply(tables[n], other, work)
            best = np.maximum(value, other)
    return tables


def lookup(table: FloatArray, belief: FloatArray) -> FloatArray | float:
    """A table's value at beliefs of shape (..., 3)."""
    if belief.ndim == 1:  # a decision waits for this one
        right, wrong, lost = belief.tolist()
        sound, last = right + wrong, SIDE - 1
        row, column = sound / (sound + lost) * last, right / sound * last if sound else 0.0
        i, j = min(int(row), last - 1), min(int(column), last - 1)
        (a, b), (c, d) = table.reshape(SIDE, SIDE)[i : i + 2, j : j + 2].tolist()
        down, across = row - i, column - j
        return float((1 - down) * (a + across * (b - a)) + down * (c + across * (d - c)))
    right, wrong, lost = np.moveaxis(belief, -1, 0)
    value: FloatArray = np.empty_like(right)
    work = np.empty_like(right)
    TableLookup.of(right, wrong, lost).apply(table, value, work)
    return value
