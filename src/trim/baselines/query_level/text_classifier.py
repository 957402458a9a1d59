"""A text classifier as router, RouteLLM's third kind (Ong et al., arXiv 2406.18665).

Departure: the paper trains all of BERT; here a logistic regression on the embedding, whose weight decay is chosen on a
held-out fifth of the questions. With `--embedder` the embedding is as good as the model behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trim.baselines.query_level.adam import descend, logistic, with_best_decay
from trim.baselines.query_level.text_embedding import Embedder
from trim.baselines.query_level.training_examples import Example, needed
from trim.stats import FloatArray


@dataclass(frozen=True, eq=False)
class TextClassifier:
    """Weights (D,) and bias (1,) of P(the strong model is needed)."""

    weights: FloatArray
    bias: FloatArray

    @classmethod
    def fit(cls, rows: Sequence[Example], vectors: FloatArray, embedder: Embedder) -> TextClassifier:
        """Train on recorded outcomes."""
        return with_best_decay(_train, vectors, needed(rows))

    def need(self, vectors: FloatArray) -> FloatArray:
        """P(the strong model is needed), shape (M, D) to (M,)."""
        return logistic(vectors @ self.weights + self.bias)


def _train(vectors: FloatArray, labels: FloatArray, decay: float) -> TextClassifier:
    def gradient(now: Sequence[FloatArray]) -> list[FloatArray]:
        error = (logistic(vectors @ now[0] + now[1]) - labels) / len(labels)
        return [vectors.T @ error + decay * now[0], np.array([error.sum()])]

    start = np.clip(labels.mean(), 0.01, 0.99)
    weights, bias = descend([np.zeros(vectors.shape[1]), np.array([np.log(start / (1 - start))])], gradient)
    return TextClassifier(weights, bias)
