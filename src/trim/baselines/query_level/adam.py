"""Adam on a few arrays, for the learned routers: full batches, fixed steps, no randomness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from trim.stats import FloatArray, sigmoids

DECAYS = (1e-4, 1e-3, 1e-2)


def descend(
    arrays: Sequence[FloatArray],
    gradient: Callable[[Sequence[FloatArray]], Sequence[FloatArray]],
    *,
    steps: int = 300,
    learning_rate: float = 0.02,
) -> list[FloatArray]:
    """The arrays after so many steps of Adam (Kingma and Ba, arXiv 1412.6980) down the gradient."""
    now = [array.copy() for array in arrays]
    mean, square = [np.zeros_like(a) for a in now], [np.zeros_like(a) for a in now]
    for step in range(1, steps + 1):
        for index, slope in enumerate(gradient(now)):
            mean[index] = 0.9 * mean[index] + 0.1 * slope
            square[index] = 0.999 * square[index] + 0.001 * slope**2
            ahead = mean[index] / (1 - 0.9**step)
            now[index] = now[index] - learning_rate * ahead / (np.sqrt(square[index] / (1 - 0.999**step)) + 1e-8)
    return now


def logistic(logits: FloatArray) -> FloatArray:
    """The probabilities of log-odds, at least 1e-13 from 0 and 1."""
    return sigmoids(np.clip(logits, -30.0, 30.0))


def loss(probabilities: FloatArray, labels: FloatArray) -> float:
    """Mean cross-entropy in nats."""
    p = np.clip(probabilities, 1e-9, 1 - 1e-9)
    return float(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean())


class Predicts(Protocol):
    """A trained router of questions."""

    def need(self, vectors: FloatArray) -> FloatArray:
        """P(the strong model is needed), shape (M, D) to (M,)."""
        ...


P = TypeVar("P", bound=Predicts)


def with_best_decay(train: Callable[[FloatArray, FloatArray, float], P], vectors: FloatArray, labels: FloatArray) -> P:
    """Trained on all rows, with the weight decay that does best on a held-out fifth; `train` takes vectors (N, D),
    labels (N,) and the decay.
    """
    fifth = np.arange(len(labels)) % 5 == 0

    def held_out(decay: float) -> float:
        return loss(train(vectors[~fifth], labels[~fifth], decay).need(vectors[fifth]), labels[fifth])

    return train(vectors, labels, min(DECAYS, key=held_out))
