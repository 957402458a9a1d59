"""Another text of the same step in the POMDP: RESAMPLE asks the weak model, REVISE the strong one.

Such a step has two unknowns, whether the kept prefix is right and whether the best text so far is, so the value is no
longer one-dimensional: it stands in tables on a grid over (P(prefix right), P(best text right | prefix right)), with
bilinear interpolation. The Router keeps the better-scored text; here that is the one that is right more probably. Of
several drafts the belief about the best one and whether they differed are remembered, not each score, which is an
approximation; a first resample, and the strong model's second text, are exact up to the grid. Scores are taken from
P(score | state), blind to the min of those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from trim.pomdp.model import PomdpModel, ResampleModel
from trim.pomdp.observation import FloatArray, ObservationBins

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

    def column(self, n: int, table: FloatArray) -> FloatArray:
        """The values in one column."""
        values: FloatArray = np.zeros(len(self.corner))
        for offset, weight in zip((0, 1, SIDE, SIDE + 1), self.weights, strict=True):
            values += table[offset:][self.corner[:, n]] * weight[:, n]
        return values


@dataclass(frozen=True, eq=False)
class Outcomes:
    """All that may come of asking for another text of a step, for each belief of the table (rows): it repeats the one
    on the table, or it differs and has one of the scores (columns). P(the outcome, and the text that is then kept is
    right, is the first wrong step, or stands behind a wrong one); shapes (SIDE * SIDE, scores + 1).
    """

    right: FloatArray
    wrong: FloatArray
    lost: FloatArray

    @cached_property
    def mass(self) -> FloatArray:
        """P(the outcome)."""
        return self.right + self.wrong + self.lost

    @cached_property
    def table_at(self) -> TableLookup:
        """Where the beliefs fall on a table."""
        return TableLookup.of(self.right, self.wrong, self.lost)

    @lru_cache(maxsize=8)  # noqa: B019  (as many as there are models in use)
    def right_at(self, grid: int) -> Interpolation:
        """Where P(right | outcome) falls on a curve of so many points."""
        return Interpolation.of(self.right, self.mass, grid)

    @lru_cache(maxsize=8)  # noqa: B019
    def fixed_at(self, grid: int, after_right: float, after_wrong: float) -> Interpolation:
        """The same for P(a strong step in its place is right | outcome)."""
        return Interpolation.of(after_right * self.right + after_wrong * self.wrong, self.mass, grid)


def _beliefs() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Those of the table: P(right), P(first wrong step), P(lost), columns of SIDE * SIDE."""
    axis = np.linspace(0.0, 1.0, SIDE)
    sound, share = (part.reshape(-1, 1) for part in np.meshgrid(axis, axis, indexing="ij"))
    return sound * share, sound * (1 - share), 1 - sound


def _another(again: ResampleModel, scores: ObservationBins) -> Outcomes:
    """Of one more text by the author of the one on the table; the better-scored is kept."""
    right, wrong, lost = beliefs = _beliefs()
    if_right, if_wrong, if_lost = scores.mass.sum(axis=1)
    same = [belief * share for belief, share in zip(beliefs, again.same, strict=True)]
    new = [belief * (1 - share) for belief, share in zip(beliefs, again.same, strict=True)]
    both = new[0] * again.after_right * if_right
    old_alone = new[0] * (1 - again.after_right) * if_wrong
    new_alone = new[1] * again.after_wrong * if_right
    neither = new[1] * (1 - again.after_wrong) * if_wrong
    best = both + np.maximum(old_alone, new_alone)
    right = np.hstack([same[0], best])
    wrong = np.hstack([same[1], both + old_alone + new_alone + neither - best])
    lost = np.hstack([same[2], new[2] * if_lost])
    return Outcomes(right, wrong, lost)


@lru_cache(maxsize=16)
def _kinds(again: ResampleModel, scores: ObservationBins, asks: int) -> tuple[Outcomes, ...]:
    """What may come of a second text, and, where more may follow, of later ones where all before were alike or not."""
    kinds = [again.after(1, mixed=False)]
    if asks > 1:
        kinds += (again.after(2, mixed=mixed) for mixed in (False, True))
    return tuple(_another(kind, scores) for kind in kinds)


def _chain(kinds: tuple[Outcomes, ...], ends: Sequence[FloatArray], asks: int, cost: float) -> FloatArray:
    """Row n: the value, before its cost, of asking for one more text after n + 1 of them, by the belief about the best
    one, where all were alike (0) or not (1); shape (asks, 2, SIDE * SIDE). A single text is alike.

    Args:
        kinds: `_kinds`.
        ends: of each kind the value of not asking again, by outcome.
        asks: how often a further text may be asked for.
        cost: of each of them.
    """
    tables = np.full((asks, 2, SIDE * SIDE), -np.inf)
    other, work = np.empty_like(kinds[0].mass), np.empty_like(kinds[0].mass)
    for n in reversed(range(asks)):
        for mixed in (False, True) if n else (False,):
            kind = kinds[1 + mixed if n else 0]
            best = ends[1 + mixed if n else 0]
            if n + 1 < asks:
                kind.table_at.apply(tables[n + 1, 1], other, work)
                if not mixed:
                    other[:, 0] = kind.table_at.column(0, tables[n + 1, 0])
                best = np.maximum(best, other - cost * kind.mass)
            tables[n, int(mixed)] = best.sum(axis=1)
    return tables


@lru_cache(maxsize=2)
def write(model: PomdpModel) -> Outcomes:
    """Of REGENERATE, by the belief about the draft: the strong model repeats it, or writes something else."""
    right, wrong, lost = beliefs = _beliefs()
    agreement = model.agreement or (0.0, 0.0, 0.0)
    same = [belief * share for belief, share in zip(beliefs, agreement, strict=True)]
    fixed = right * max(model.after_right - agreement[0], 0.0) + wrong * model.after_wrong
    failed = right * (1 - model.after_right) + wrong * max(1 - agreement[1] - model.after_wrong, 0.0)
    if_right, if_wrong, if_lost = model.strong_observation.mass.sum(axis=1)
    others = fixed * if_right, failed * if_wrong, lost * (1 - agreement[2]) * if_lost
    return Outcomes(*(np.hstack([repeated, other]) for repeated, other in zip(same, others, strict=True)))


@dataclass(frozen=True, eq=False)
class ReviseTables:
    """Values before the price of the text that is asked for, by the belief about the one on the table: `first` of
    REGENERATE on a draft, shape (SIDE * SIDE,); `again` of REGENERATE on another text that the strong model wrote, by
    how many it has written, shape (revisions, 2, SIDE * SIDE) as in `_chain`.
    """

    first: FloatArray
    again: FloatArray

    @classmethod
    def of(cls, model: PomdpModel, curve: FloatArray, revisions: int, cost: float) -> ReviseTables:
        """For the curve of going on with a prefix that is right with this probability, and the price of a text."""
        assert model.revise is not None
        kinds = _kinds(model.revise, model.strong_observation, revisions)
        again = _chain(kinds, [_kept(kind, curve) for kind in kinds], revisions, cost)
        once = write(model)
        value, other = _kept(once, curve), np.empty_like(once.mass)
        once.table_at.apply(again[0, 0], other, np.empty_like(other))
        other -= cost * once.mass
        np.maximum(value[:, 1:], other[:, 1:], out=value[:, 1:])  # a draft that is written again stays
        return cls(value.sum(axis=1), again)


def _kept(outcome: Outcomes, curve: FloatArray) -> FloatArray:
    """The value of keeping what is then the best text, by outcome."""
    value = np.empty_like(outcome.mass)
    outcome.right_at(len(curve)).apply(curve, value, np.empty_like(value))
    return value


def resample_tables(
    model: PomdpModel,
    curve: FloatArray,
    resamples: int,
    *,
    cost: float,
    draft_cost: float,
    alone: tuple[float, float] | None,
    revise: ReviseTables | None,
) -> FloatArray:
    """The value of RESAMPLE, its cost paid, as in `_chain`.

    Args:
        model: with its `resamples`.
        curve: the value of going on with a prefix that is right with this probability.
        resamples: drafts that may still follow the first.
        cost: of REGENERATE.
        draft_cost: of a draft and its score.
        alone: TAKE_OVER's P(all later steps are right) and what it costs; None where it is no action.
        revise: the values of REGENERATE where its text may be revised; None where it may not.
    """
    assert model.resamples is not None
    kinds = _kinds(model.resamples, model.resample_observation or model.observation, resamples)
    ends = []
    other, work = np.empty_like(kinds[0].mass), np.empty_like(kinds[0].mass)
    for outcome in kinds:
        value = _kept(outcome, curve)
        if revise is None:
            outcome.fixed_at(len(curve), model.after_right, model.after_wrong).apply(curve, other, work)
        else:
            outcome.table_at.apply(revise.first, other, work)
        np.maximum(value, other - cost * outcome.mass, out=value)
        if alone is not None:
            fixed = model.after_right * outcome.right + model.after_wrong * outcome.wrong
            np.maximum(value, fixed * alone[0] - outcome.mass * alone[1], out=value)
        ends.append(value)
    return _chain(kinds, ends, resamples, draft_cost) - draft_cost


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
