"""Adam on a few arrays, for the learned routers: full batches, fixed steps, no randomness."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trim.baselines.embedding import FloatArray

DECAYS = (1e-4, 1e-3, 1e-2)


def descend(
    arrays: Sequence[FloatArray],
    gradient: Callable[[Sequence[FloatArray]], Sequence[FloatArray]],
    *,
    steps: int = 300,
    rate: float = 0.02,
) -> list[FloatArray]:
    """The arrays after so many steps of Adam (Kingma and Ba, arXiv 1412.6980) down the gradient."""
    now = [array.copy() for array in arrays]
    mean, square = [np.zeros_like(a) for a in now], [np.zeros_like(a) for a in now]
    for step in range(1, steps + 1):
        for index, slope in enumerate(gradient(now)):
            mean[index] = 0.9 * mean[index] + 0.1 * slope
            square[index] = 0.999 * square[index] + 0.001 * slope**2
            ahead = mean[index] / (1 - 0.9**step)
            now[index] = now[index] - rate * ahead / (np.sqrt(square[index] / (1 - 0.999**step)) + 1e-8)
    return now


def chance(logits: FloatArray) -> FloatArray:
    """The logistic function."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))))


def loss(chances: FloatArray, labels: FloatArray) -> float:
    """Mean cross-entropy in nats."""
    sure = np.clip(chances, 1e-9, 1 - 1e-9)
    return float(-(labels * np.log(sure) + (1 - labels) * np.log(1 - sure)).mean())


def best_decay(held_out_loss: Callable[[float], float]) -> float:
    """The weight decay with the smallest loss on held-out rows."""
    return min(DECAYS, key=held_out_loss)
