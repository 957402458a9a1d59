"""What several points made of the same questions, and what a bootstrap over questions makes of their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim.evals.metrics import Tally

FloatArray = NDArray[np.float64]

DRAWS = 2_000
_CHUNK = 4_000_000  # questions times draws that are held at the same time


@dataclass(frozen=True, eq=False)
class Means:
    """Means over questions, arrays (1 + draws, P): row 0 of the questions as they are, the others of resamples.

    All points of a row are means over the same resampled questions, so what differs within a row is paired.
    """

    right: FloatArray
    strong_tokens: FloatArray
    cost: FloatArray


@dataclass(frozen=True, eq=False)
class Outcomes:
    """P points over the Q questions that all of them answered: arrays (P, Q).

    Several samples of one question are averaged: questions are what is drawn, so their spread is what counts.
    """

    questions: tuple[str, ...]
    right: FloatArray
    strong_tokens: FloatArray
    cost: FloatArray

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> Outcomes:
        """Bring tallies into one order of questions.

        Raises:
            ValueError: no tallies, or no question that all of them answered.
        """
        common = set.intersection(*(set(tally.questions) for tally in tallies)) if tallies else set()
        if not common:
            raise ValueError(f"no question was answered at all of {len(tallies)} points")
        questions = tuple(sorted(common))
        place = {question: index for index, question in enumerate(questions)}
        table = np.stack([_question_means(tally, place) for tally in tallies])
        return cls(questions, table[:, 0], table[:, 1], table[:, 2])

    def means(self, draws: int = DRAWS, *, seed: int = 0) -> Means:
        """Means of the questions and of `draws` resamples of them."""
        table = np.concatenate([self.right, self.strong_tokens, self.cost])
        rows = [table.mean(axis=1, keepdims=True).T]
        rng, count = np.random.default_rng(seed), len(self.questions)
        step = max(1, _CHUNK // count)
        for first in range(0, draws, step):
            here = min(step, draws - first)
            drawn = rng.integers(0, count, (here, count)) + count * np.arange(here)[:, None]
            times = np.bincount(drawn.ravel(), minlength=here * count).reshape(here, count)
            rows.append(times @ table.T / count)
        right, strong_tokens, cost = np.split(np.concatenate(rows), 3, axis=1)
        return Means(right, strong_tokens, cost)


def _question_means(tally: Tally, place: dict[str, int]) -> FloatArray:
    """Right, strong tokens and cost of every question, shape (3, Q)."""
    chosen = [index for index, question in enumerate(tally.questions) if question in place]
    where = [place[tally.questions[index]] for index in chosen]
    rows = np.array([(tally.right[index], tally.numbers[index][0], tally.numbers[index][5]) for index in chosen])
    samples = np.bincount(where, minlength=len(place))
    return np.stack([np.bincount(where, column, len(place)) for column in rows.T.astype(float)]) / samples
