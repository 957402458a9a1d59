"""The published POMDP instance that benchmarks solve and simulate, from measurements of real models.

Qwen2.5-1.5B and 7B on 7,500 MATH training problems (step accuracy, solution lengths) and Qwen2.5-Math-PRM-7B on
ProcessBench (scores by state), from the release of arXiv 2601.10245. See ../shared/README.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from trim.pomdp import STATES, ObservationBins, PomdpModel, reflected_kde

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "calibration"


def published(hazard: str = "weak") -> PomdpModel:
    """The instance, with the hazard of the `weak` model, the `strong` one, or `both` pooled; steps of 60 tokens.

    hazard[t] is the list's entry t + 1, as the published instance has it. By the lengths that it was counted from the
    entry of the draft after step t would be t + 2: a fit to other data should mind the index.
    """
    lengths = json.loads((FOLDER / "termination_hazard_math_train.json").read_text())[hazard]
    bins = ObservationBins.from_json(FOLDER / "prm_observation_bins_math.json")
    return PomdpModel(0.866, 0.9704, tuple(lengths[1:]), bins, 60)


def made_up() -> PomdpModel:
    """An instance of the same size from no data, for timing where the measurements are not at hand."""
    rng = np.random.default_rng(0)
    shapes = ((8.0, 0.5), (1.0, 4.0), (0.5, 2.0))
    points = {state: rng.beta(a, b, (500, 2)) for state, (a, b) in zip(STATES, shapes, strict=True)}
    return PomdpModel(0.866, 0.9704, (*(0.2,) * 29, 1.0), reflected_kde(points), 60)
