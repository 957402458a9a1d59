"""Held-out log-likelihood of observation models, on real scores of Qwen2.5-Math-PRM-7B.

    python -m benchmarks.observation_models

Five-fold cross-validation over the 2,260 labelled pairs (min of previous scores, score) of the calibration data, mean
over states, in nats:

- pair: log P(pair's cell | state) on 20 x 20 equal cells, the same for all models; mass is uniform within a bin.
- score: log P(score's cell | min's cell, state) on the same cells.
- state: log P(state | pair) from a uniform prior, from each model's own bins: the information in a snapshot belief.
- state, score alone: log P(state | score); the information in a score once the past is in the prior.

Needs ../shared/data/calibration.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.published_instance import FOLDER
from trim.pomdp import STATES, ObservationBins, quantile_bins, read_points, reflected_kde

FOLDS = 5
CELLS = np.linspace(0, 1, 21)

Floats = NDArray[np.float64]
Fit = Callable[[dict[str, Floats]], ObservationBins]


def spread(edges: Floats) -> Floats:
    """Share of each bin (rows) that lies in each of the common cells."""
    low, high = np.maximum(edges[:-1, None], CELLS[:-1]), np.minimum(edges[1:, None], CELLS[1:])
    share: Floats = np.clip(high - low, 0, None) / np.diff(edges)[:, None]
    return share


def held_out(model: ObservationBins, points: dict[str, Floats]) -> Floats:
    """The four figures for one fold, mean over states."""
    on_cells = spread(model.minimum_edges).T @ model.mass @ spread(model.score_edges)
    rows = []
    for s, state in enumerate(STATES):
        row, column = (np.clip(np.searchsorted(CELLS, points[state][:, i], "right") - 1, 0, 19) for i in (0, 1))
        mass = on_cells[s] + 1e-12
        pairs = np.array([model.pair_likelihood(*map(float, pair)) for pair in points[state]])
        alone = np.array([model.scores_only().pair_likelihood(*map(float, pair)) for pair in points[state]])
        rows.append(
            [
                np.log(mass[row, column]).mean(),
                np.log(mass[row, column] / mass[row].sum(axis=1)).mean(),
                np.log(pairs[:, s] / pairs.sum(axis=1)).mean(),
                np.log(alone[:, s] / alone.sum(axis=1)).mean(),
            ]
        )
    return np.asarray(np.mean(rows, axis=0))


def cross_validate(fit: Fit) -> Floats:
    """Mean over the folds."""
    points = read_points(FOLDER / "prm_observations_math.json")
    rng = np.random.default_rng(0)
    fold = {state: rng.permutation(len(p)) % FOLDS for state, p in points.items()}
    figures = []
    for k in range(FOLDS):
        model = fit({state: p[fold[state] != k] for state, p in points.items()})
        figures.append(held_out(model, {state: p[fold[state] == k] for state, p in points.items()}))
    return np.asarray(np.mean(figures, axis=0))


def main() -> None:
    models: dict[str, Fit] = {
        "reflected KDE, Scott's bandwidth (the paper's)": reflected_kde,
        "reflected KDE, bandwidth 0.05 (its best)": partial(reflected_kde, bandwidth=0.05),
    }
    for rows, columns, reach in (
        (8, 8, 1), (12, 12, 1), (1, 8, 1), (8, 48, 4), (8, 48, 8), (8, 48, 12), (8, 32, 6), (1, 48, 8),
    ):  # fmt: skip
        models[f"quantile bins {rows} x {columns}, reach {reach}"] = partial(
            quantile_bins, minimum_bins=rows, score_bins=columns, reach=reach
        )
    for name, fit in models.items():
        names = ("pair", "score", "state", "state_score_alone")
        figures = dict(zip(names, cross_validate(fit).round(3).tolist(), strict=True))
        print(json.dumps({"model": name, **figures}), flush=True)


if __name__ == "__main__":
    main()
