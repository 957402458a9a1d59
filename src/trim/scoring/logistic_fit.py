"""Logistic regression: few features, all data in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from trim.errors import ConfigError
from trim.stats import FloatArray, sigmoids


def fit_regression(features: ArrayLike, labels: ArrayLike, *, ridge: float = 1e-3) -> tuple[FloatArray, float]:
    """Weights w [d] and intercept b of P(label) = 1 / (1 + exp(-(w x + b))) by Newton's method with a line search.

    Args:
        features: x, [n, d].
        labels: [n] of 0 and 1.
        ridge: weight of the squared weights of standardised features, for each row; it keeps them finite where the
            labels can be separated.

    Raises:
        ConfigError: the lengths differ, or all labels are the same.
    """
    x, y = np.asarray(features, float), np.asarray(labels, float)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ConfigError(f"{x.shape} values for {y.shape} labels")
    if not 0.0 < y.mean() < 1.0:
        raise ConfigError("labels of both kinds are needed")
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    design = np.concatenate([(x - centre) / scale, np.ones((len(x), 1))], axis=1)
    penalty = np.diag([ridge * len(x)] * x.shape[1] + [0.0])
    weights = np.array([0.0] * x.shape[1] + [np.log(y.mean() / (1.0 - y.mean()))])

    def loss(weights: FloatArray) -> float:
        logits = design @ weights
        return float((np.logaddexp(0.0, logits) - y * logits).sum() + weights @ penalty @ weights / 2)

    for _ in range(100):
        p = sigmoids(np.clip(design @ weights, -30.0, 30.0))
        gradient = design.T @ (p - y) + penalty @ weights
        hessian = (design * (p * (1.0 - p))[:, None]).T @ design + penalty + 1e-9 * np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        if np.abs(step).max() < 1e-8:
            break
        # Where the labels are nearly separable a whole step overshoots, and the next one more so.
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-12:
            step /= 2
        weights -= step
    slopes: FloatArray = weights[:-1] / scale
    return slopes, float(weights[-1] - slopes @ centre)
