"""The value of further texts of the same step: RESAMPLE asks the weak model for one, REVISE the strong one.

Such a step has two unknowns, whether the kept prefix is correct and whether the best text so far is, so its value is no
longer one-dimensional: it is tabulated on a grid over (P(prefix correct), P(best text correct | prefix correct)), with
bilinear interpolation. The Router keeps the better-scored text; here that is the one that is correct more probably. Of
several drafts the belief about the best one and whether they differed are remembered, not each score, which is an
approximation; a first resample, and the strong model's second text, are exact up to the grid. Scores are drawn from
P(score | state), which ignores the min of those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from trim.pomdp.model import PomdpModel, ResampleModel
from trim.pomdp.observation import FloatArray, ObservationBins

SIDE = 33
"""Grid points per axis of the table."""


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
        """Write the values to `out`; the array `work` is overwritten."""
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
    def of(cls, correct: FloatArray, recoverable: FloatArray, lost: FloatArray) -> TableLookup:
        """From P(state of the best text, observation), three arrays of one shape."""
        tiny, last = np.finfo(float).tiny, SIDE - 1
        prefix_correct = correct + recoverable
        mass = prefix_correct + lost
        row = prefix_correct / np.maximum(mass, tiny) * last
        column = correct / np.maximum(prefix_correct, tiny) * last
        i, j = (np.clip(value, 0, last - 1).astype(np.intp) for value in (row, column))
        down, across = row - i, column - j
        upper, lower = mass * (1 - down), mass * down
        weights = (upper * (1 - across), upper * across, lower * (1 - across), lower * across)
        return cls(i * SIDE + j, weights)

    def apply(self, table: FloatArray, out: FloatArray, work: FloatArray) -> None:
        """Write the values to `out`; the array `work` is overwritten."""
        for n, (offset, weight) in enumerate(zip((0, 1, SIDE, SIDE + 1), self.weights, strict=True)):
            target = work if n else out
            np.take(table[offset:], self.corner, out=target, mode="clip")
            target *= weight
            if n:
                out += work

    def column(self, n: int, table: FloatArray) -> FloatArray:
        """The values in column `n` alone, shape (rows,)."""
        values: FloatArray = np.zeros(len(self.corner))
        for offset, weight in zip((0, 1, SIDE, SIDE + 1), self.weights, strict=True):
            values += table[offset:][self.corner[:, n]] * weight[:, n]
        return values


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Joint probabilities of what another text of a step may be and the state of the text that is then kept.

    Rows are the beliefs of the table. Column 0: the text repeats the one on the table; the other columns: it differs
    and has one of the scores. Shapes (SIDE * SIDE, scores + 1).
    """

    correct: FloatArray
    recoverable: FloatArray
    lost: FloatArray

    @cached_property
    def mass(self) -> FloatArray:
        """P(outcome), whatever the state; shape (SIDE * SIDE, scores + 1)."""
        return self.correct + self.recoverable + self.lost

    @cached_property
    def table_at(self) -> TableLookup:
        """Where the beliefs after each outcome fall on a table."""
        return TableLookup.of(self.correct, self.recoverable, self.lost)

    @lru_cache(maxsize=8)  # noqa: B019  (as many as there are models in use)
    def correct_at(self, grid: int) -> Interpolation:
        """Where P(CORRECT | outcome) falls on a curve of so many points."""
        return Interpolation.of(self.correct, self.mass, grid)

    @lru_cache(maxsize=8)  # noqa: B019
    def regenerated_at(self, grid: int, if_correct: float, if_wrong: float) -> Interpolation:
        """Where P(a strong step in its place is correct | outcome) falls on a curve of so many points."""
        return Interpolation.of(if_correct * self.correct + if_wrong * self.recoverable, self.mass, grid)


def _beliefs() -> tuple[FloatArray, FloatArray, FloatArray]:
    """The beliefs of the table: P(CORRECT), P(RECOVERABLE), P(LOST), columns of length SIDE * SIDE."""
    axis = np.linspace(0.0, 1.0, SIDE)
    prefix_correct, share = (part.reshape(-1, 1) for part in np.meshgrid(axis, axis, indexing="ij"))
    return prefix_correct * share, prefix_correct * (1 - share), 1 - prefix_correct


def _next_text(model: ResampleModel, scores: ObservationBins) -> Outcomes:
    """Outcomes of one more text by the model that wrote the one on the table; the better-scored one is kept."""
    beliefs = _beliefs()
    of_correct, of_wrong, of_lost = scores.mass.sum(axis=1)
    same = [belief * share for belief, share in zip(beliefs, model.repeat_probability, strict=True)]
    new = [belief * (1 - share) for belief, share in zip(beliefs, model.repeat_probability, strict=True)]
    both = new[0] * model.accuracy_if_correct * of_correct
    old_alone = new[0] * (1 - model.accuracy_if_correct) * of_wrong
    new_alone = new[1] * model.accuracy_if_wrong * of_correct
    neither = new[1] * (1 - model.accuracy_if_wrong) * of_wrong
    best = both + np.maximum(old_alone, new_alone)
    correct = np.hstack([same[0], best])
    recoverable = np.hstack([same[1], both + old_alone + new_alone + neither - best])
    lost = np.hstack([same[2], new[2] * of_lost])
    return Outcomes(correct, recoverable, lost)


@lru_cache(maxsize=16)
def _outcomes(model: ResampleModel, scores: ObservationBins, asks: int) -> tuple[Outcomes, ...]:
    """Outcomes of a second text; where more may follow, also those after identical and after differing texts."""
    models = [model.given(1, differing=False)]
    if asks > 1:
        models += (model.given(2, differing=differing) for differing in (False, True))
    return tuple(_next_text(each, scores) for each in models)


def _ask_again(outcomes: tuple[Outcomes, ...], ends: Sequence[FloatArray], asks: int, cost: float) -> FloatArray:
    """Backward induction over the number of texts. Row n: the value, before its cost, of asking for one more text after
    n + 1 of them, by the belief about the best one, where all were identical (0) or not (1); shape
    (asks, 2, SIDE * SIDE). A single text counts as identical.

    Args:
        outcomes: as `_outcomes` returns them.
        ends: for each of `outcomes` the value of not asking again, by outcome.
        asks: how often a further text may be asked for.
        cost: of each further text.
    """
    tables = np.full((asks, 2, SIDE * SIDE), -np.inf)
    other, work = np.empty_like(outcomes[0].mass), np.empty_like(outcomes[0].mass)
    for n in reversed(range(asks)):
        for differing in (False, True) if n else (False,):
            outcome = outcomes[1 + differing if n else 0]
            best = ends[1 + differing if n else 0]
            if n + 1 < asks:
                outcome.table_at.apply(tables[n + 1, 1], other, work)
                if not differing:
                    other[:, 0] = outcome.table_at.column(0, tables[n + 1, 0])
                best = np.maximum(best, other - cost * outcome.mass)
            tables[n, int(differing)] = best.sum(axis=1)
    return tables


@lru_cache(maxsize=2)
def _regenerated(model: PomdpModel) -> Outcomes:
    """Outcomes of REGENERATE, by the belief about the draft: the strong model repeats it, or writes another text."""
    correct, recoverable, lost = beliefs = _beliefs()
    agreement = model.agreement or (0.0, 0.0, 0.0)
    if_correct, if_wrong = model.strong_accuracy_if_correct, model.strong_accuracy_if_wrong
    same = [belief * share for belief, share in zip(beliefs, agreement, strict=True)]
    fixed = correct * max(if_correct - agreement[0], 0.0) + recoverable * if_wrong
    failed = correct * (1 - if_correct) + recoverable * max(1 - agreement[1] - if_wrong, 0.0)
    of_correct, of_wrong, of_lost = model.strong_observation.mass.sum(axis=1)
    others = fixed * of_correct, failed * of_wrong, lost * (1 - agreement[2]) * of_lost
    return Outcomes(*(np.hstack([repeated, other]) for repeated, other in zip(same, others, strict=True)))


@dataclass(frozen=True, eq=False)
class ReviseTables:
    """Values by the belief about the text on the table, before the price of the text that is asked for.

    `regenerate`: of REGENERATE on a draft, shape (SIDE * SIDE,). `revise`: of REVISE on a text of the strong model, by
    how many it has written, shape (revisions, 2, SIDE * SIDE) as in `_ask_again`.
    """

    regenerate: FloatArray
    revise: FloatArray

    @classmethod
    def of(cls, model: PomdpModel, curve: FloatArray, revisions: int, cost: float) -> ReviseTables:
        """Tabulate; `curve` is the value of a kept prefix by P(it is correct), `cost` the price of a strong step."""
        assert model.revise_model is not None
        outcomes = _outcomes(model.revise_model, model.strong_observation, revisions)
        revise = _ask_again(outcomes, [_keep(outcome, curve) for outcome in outcomes], revisions, cost)
        first = _regenerated(model)
        value, other = _keep(first, curve), np.empty_like(first.mass)
        first.table_at.apply(revise[0, 0], other, np.empty_like(other))
        other -= cost * first.mass
        np.maximum(value[:, 1:], other[:, 1:], out=value[:, 1:])  # a text that repeats the draft is not revised
        return cls(value.sum(axis=1), revise)


def _keep(outcome: Outcomes, curve: FloatArray) -> FloatArray:
    """The value of keeping what is then the best text, by outcome."""
    value = np.empty_like(outcome.mass)
    outcome.correct_at(len(curve)).apply(curve, value, np.empty_like(value))
    return value


def resample_tables(
    model: PomdpModel,
    curve: FloatArray,
    resamples: int,
    *,
    cost: float,
    draft_cost: float,
    take_over: tuple[float, float] | None,
    revise: ReviseTables | None,
) -> FloatArray:
    """The value of RESAMPLE, its cost paid; shape (resamples, 2, SIDE * SIDE) as in `_ask_again`.

    Args:
        model: with its `resample_model`.
        curve: the value of a kept prefix by P(it is correct).
        resamples: drafts that may still follow the first.
        cost: of REGENERATE.
        draft_cost: of a draft and its score.
        take_over: TAKE_OVER's P(all later steps are correct) and its cost; None where it is not available.
        revise: the values of REGENERATE where its text may be revised; None where it may not.
    """
    assert model.resample_model is not None
    if_correct, if_wrong = model.strong_accuracy_if_correct, model.strong_accuracy_if_wrong
    outcomes = _outcomes(model.resample_model, model.resample_observation or model.observation, resamples)
    ends = []
    other, work = np.empty_like(outcomes[0].mass), np.empty_like(outcomes[0].mass)
    for outcome in outcomes:
        value = _keep(outcome, curve)
        if revise is None:
            outcome.regenerated_at(len(curve), if_correct, if_wrong).apply(curve, other, work)
        else:
            outcome.table_at.apply(revise.regenerate, other, work)
        np.maximum(value, other - cost * outcome.mass, out=value)
        if take_over is not None:
            fixed = if_correct * outcome.correct + if_wrong * outcome.recoverable
            np.maximum(value, fixed * take_over[0] - outcome.mass * take_over[1], out=value)
        ends.append(value)
    return _ask_again(outcomes, ends, resamples, draft_cost) - draft_cost


def lookup(table: FloatArray, belief: FloatArray) -> FloatArray | float:
    """A table's value, interpolated, at beliefs of shape (..., 3)."""
    if belief.ndim == 1:  # a single belief on plain floats: decisions wait for it
        correct, recoverable, lost = belief.tolist()
        prefix_correct, last = correct + recoverable, SIDE - 1
        row = prefix_correct / (prefix_correct + lost) * last
        column = correct / prefix_correct * last if prefix_correct else 0.0
        i, j = min(int(row), last - 1), min(int(column), last - 1)
        (a, b), (c, d) = table.reshape(SIDE, SIDE)[i : i + 2, j : j + 2].tolist()
        down, across = row - i, column - j
        return float((1 - down) * (a + across * (b - a)) + down * (c + across * (d - c)))
    correct, recoverable, lost = np.moveaxis(belief, -1, 0)
    value: FloatArray = np.empty_like(correct)
    TableLookup.of(correct, recoverable, lost).apply(table, value, np.empty_like(correct))
    return value
