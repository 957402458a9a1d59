"""A simulated process reward model: scores drawn from the hidden state, which the texts of the steps show."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trim.backends.base import BaseBackend
from trim.errors import ConfigError
from trim.pomdp.observation import STATES, FloatArray, ObservationBins
from trim.seeding import uniform
from trim.simulation.generators import state_of
from trim.types import Question, Scores

_BINS = 20
_CORRECT, _RECOVERABLE, _LOST = range(len(STATES))


def graded(accuracy: float) -> ObservationBins:
    """Scores from one number, for want of measured ones: a score lies on the right side of 0.5 with this probability.

    Right steps have the density a s^(a - 1), wrong ones its mirror image; the past says nothing about the next score.

    Raises:
        ConfigError: an accuracy outside [0.5, 1].
    """
    if not 0.5 <= accuracy <= 1.0:
        raise ConfigError(f"a PRM's accuracy must lie in [0.5, 1], not {accuracy}")
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    with np.errstate(divide="ignore"):  # accuracy 1: every right step scores in the last bin
        right = np.diff(edges ** -np.log2(1 - np.float64(accuracy)))
    wrong = right[::-1]
    return ObservationBins(np.array([0.0, 1.0]), edges, np.stack([right, wrong, wrong])[:, None, :])


def stricter(
    scores: ObservationBins, *, power: float = 1.0, memory: float = 0.0, doubt: float = 0.0
) -> ObservationBins:
    """The same PRM on a weaker model's solutions: harder on first errors, and on what follows them.

    Bins measured on solutions of many models understate both (docs/explanation/simulator.md).

    Args:
        scores: measured bins.
        power: a RECOVERABLE step's score s becomes s^power.
        memory: this share of a LOST solution's scores is drawn like those of RECOVERABLE ones.
        doubt: so is this share of a CORRECT solution's.

    Raises:
        ConfigError: a power that is not positive, or a share outside [0, 1].
    """
    if not power > 0 or not 0.0 <= memory <= 1.0 or not 0.0 <= doubt <= 1.0:
        raise ConfigError(f"power must be positive, memory and doubt in [0, 1], not {power}, {memory}, {doubt}")
    given = _given_minimum(scores)
    below = np.concatenate([np.zeros((len(given[0]), 1)), np.cumsum(given[_RECOVERABLE], axis=1)], axis=1)
    moved = [np.interp(scores.score_edges ** (1 / power), scores.score_edges, row) for row in below]
    given[_RECOVERABLE] = np.diff(np.stack(moved), axis=1)
    for state, share in ((_LOST, memory), (_CORRECT, doubt)):
        given[state] = (1 - share) * given[state] + share * given[_RECOVERABLE]
    mass = given * scores.mass.sum(axis=2, keepdims=True)
    return ObservationBins(scores.minimum_edges, scores.score_edges, mass / mass.sum(axis=(1, 2), keepdims=True))


def _given_minimum(scores: ObservationBins) -> FloatArray:
    """P(bin of the score | state, bin of the min), shape (3, A, B)."""
    minimum, score = ((edges[1:] + edges[:-1]) / 2 for edges in (scores.minimum_edges, scores.score_edges))
    given = np.array([[scores.score_likelihood(float(m), float(s)) for s in score] for m in minimum])
    table = np.moveaxis(given, -1, 0)
    normal: FloatArray = table / table.sum(axis=2, keepdims=True)
    return normal


@dataclass(frozen=True)
class SimulatedPrm(BaseBackend):
    """A `Judge` that draws a step's score from P(score | min of the scores before, hidden state).

    Args:
        accuracy: see `graded`; not used where `scores` are given.
        seconds: time one call takes; 0 never waits.
        step_tokens: tokens it reads per step.
        scores: measured bins.
    """

    accuracy: float = 0.9
    seconds: float = 0.0
    step_tokens: int = 41
    scores: ObservationBins | None = None

    @property
    def identity(self) -> str:
        """What it is and how good."""
        return "simulated:prm" + ("" if self.scores else f" of accuracy {self.accuracy:g}")

    @cached_property
    def bins(self) -> ObservationBins:
        """What scores are drawn from."""
        return self.scores or graded(self.accuracy)

    @cached_property
    def below(self) -> list[list[list[float]]]:
        """P(score below each edge), by state and bin of the min."""
        cumulative: list[list[list[float]]] = np.cumsum(_given_minimum(self.bins), axis=2).tolist()
        return [[[0.0, *row[:-1], 1.0] for row in rows] for rows in cumulative]

    @cached_property
    def _edges(self) -> tuple[list[float], list[float]]:
        return self.bins.minimum_edges[1:-1].tolist(), self.bins.score_edges.tolist()

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """One score per step; see `trim.protocols.Judge`."""
        if self.seconds:
            await asyncio.sleep(self.seconds)
        inner, edges = self._edges
        lowest, values = 1.0, []
        for index, step in enumerate(steps):
            below = self.below[state_of(steps[: index + 1])][bisect_right(inner, lowest)]
            draw = uniform("score", question.text, index, step)
            column = bisect_right(below, draw) - 1
            share = (draw - below[column]) / (below[column + 1] - below[column])
            value = edges[column] + share * (edges[column + 1] - edges[column])
            lowest = min(lowest, value)
            values.append(value)
        self.usage.calls += 1
        read = tuple(self.step_tokens * (index + 1) for index in range(len(steps)))
        self.usage.prompt_tokens += sum(read[-1:])
        return Scores(tuple(values), sum(read[-1:]), up_to=read)
