"""RouteLLM's matrix factorisation (Ong et al., arXiv 2406.18665): models and questions meet in one space.

A model m has a vector v_m, a question its embedding q; the score is w' (v_m * (W q + b)), and the strong model wins
with the logistic of the difference of the two scores.

Departures: outcomes are graded answers instead of preferences among 64 models, so only the two models of the pair have
vectors; 32 dimensions instead of 128; weight decay chosen on a held-out fifth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trim.baselines.query_level.adam import descend, logistic, with_best_decay
from trim.baselines.query_level.text_embedding import Embedder
from trim.baselines.query_level.training_examples import Example, needed
from trim.stats import FloatArray

_DIMENSIONS = 32


@dataclass(frozen=True, eq=False)
class MatrixFactorisation:
    """`projection` W (D, K), `offset` b (K,), `models` v_weak and v_strong (2, K), `head` w (K,)."""

    projection: FloatArray
    offset: FloatArray
    models: FloatArray
    head: FloatArray

    @classmethod
    def fit(cls, rows: Sequence[Example], vectors: FloatArray, embedder: Embedder) -> MatrixFactorisation:
        """Train on recorded outcomes."""
        return with_best_decay(_train, vectors, needed(rows))

    def need(self, vectors: FloatArray) -> FloatArray:
        """P(the strong model wins), shape (M, D) to (M,)."""
        return logistic((vectors @ self.projection + self.offset) @ (self.head * (self.models[1] - self.models[0])))


def _train(vectors: FloatArray, labels: FloatArray, decay: float) -> MatrixFactorisation:
    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(_DIMENSIONS)
    shapes = [(vectors.shape[1], _DIMENSIONS), (_DIMENSIONS,), (2, _DIMENSIONS), (_DIMENSIONS,)]

    def gradient(now: Sequence[FloatArray]) -> list[FloatArray]:
        projection, offset, models, head = now
        hidden = vectors @ projection + offset
        apart = models[1] - models[0]
        error = (logistic(hidden @ (head * apart)) - labels) / len(labels)
        back = np.outer(error, head * apart)
        pull = hidden.T @ error
        slopes = [vectors.T @ back, back.sum(axis=0), np.stack([-pull * head, pull * head]), pull * apart]
        return [slope + decay * array for slope, array in zip(slopes, now, strict=True)]

    return MatrixFactorisation(*descend([scale * rng.standard_normal(shape) for shape in shapes], gradient))
