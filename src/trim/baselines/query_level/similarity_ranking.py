"""RouteLLM's similarity-weighted ranking (Ong et al., arXiv 2406.18665): the outcomes of similar questions vote.

A question's Bradley-Terry coefficients are fitted to all recorded outcomes, each weighted by gamma^(1 + s), where s is
its similarity as a share of the largest one. With two models that has a closed form: the weighted share of outcomes
that the strong model won.

Departures: outcomes are graded answers instead of human preferences; a tie counts against the strong model, since it
costs more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trim.baselines.query_level.text_embedding import Embedder
from trim.baselines.query_level.training_examples import Example, needed
from trim.stats import FloatArray

GAMMA = 10.0  # the paper's


@dataclass(frozen=True, eq=False)
class SimilarityRanking:
    """Recorded questions as vectors (N, D), and whether the strong model was needed (N,)."""

    vectors: FloatArray
    labels: FloatArray

    @classmethod
    def fit(cls, rows: Sequence[Example], vectors: FloatArray, embedder: Embedder) -> SimilarityRanking:
        """Nothing is learned, only kept."""
        return cls(vectors, needed(rows))

    def need(self, vectors: FloatArray) -> FloatArray:
        """P(the strong model wins) for questions as vectors of length 1, shape (M, D) to (M,)."""
        similarity = vectors @ self.vectors.T
        share = similarity / np.maximum(similarity.max(axis=1, keepdims=True), 1e-9)
        weight = GAMMA ** (1.0 + np.clip(share, -1.0, 1.0))
        return np.asarray(weight @ self.labels / weight.sum(axis=1))
