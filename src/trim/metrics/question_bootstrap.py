"""A paired bootstrap over questions: means of several operating points over the same resampled questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from trim.metrics.tally import Tally, common_questions, question_means
from trim.stats import FloatArray, resamples

DRAWS = 2_000
_CHUNK = 500_000  # questions times draws that are held at the same time


@dataclass(frozen=True, eq=False)
class Means:
    """Means of P points, arrays (1 + draws, P): row 0 of the questions as they are, the others of resamples.

    All points of a row are means over the same resampled questions, so what differs within a row is paired.
    """

    questions: int
    right: FloatArray
    strong_tokens: FloatArray
    cost: FloatArray


def resampled_means(tallies: Sequence[Tally], draws: int = DRAWS, *, seed: int = 0) -> Means:
    """Means of the questions that all points answered, and of `draws` resamples of them.

    Several samples of one question are averaged: questions are what is drawn, so their spread is what counts.

    Raises:
        ValueError: no tallies, or no question that all of them answered.
    """
    questions = common_questions(tallies)
    count = len(questions)
    table = np.concatenate(np.moveaxis(question_means(tallies, questions), 1, 0))
    rows = [table.mean(axis=1, keepdims=True).T]
    drawn = resamples(count, draws, np.random.default_rng(seed))
    while chunk := list(islice(drawn, max(1, _CHUNK // count))):
        times = np.stack([np.bincount(chosen, minlength=count) for chosen in chunk])
        rows.append(times @ table.T / count)
    return Means(count, *np.split(np.concatenate(rows), 3, axis=1))
