"""The instance that is solved and played here: published measurements of real models, which lie beside the project.

Qwen2.5-1.5B and 7B on 7,500 MATH training problems (step accuracy, solution lengths) and Qwen2.5-Math-PRM-7B on
ProcessBench (scores by state), from the release of arXiv 2601.10245. See ../shared/README.md.
"""

from __future__ import annotations

import json
from pathlib import Path

from trim.pomdp import ObservationBins, PomdpModel

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "calibration"


def published(hazard: str = "weak") -> PomdpModel:
    """The instance, with the hazard of the `weak` model, the `strong` one, or `both` pooled; steps of 60 tokens."""
    lengths = json.loads((FOLDER / "termination_hazard_math_train.json").read_text())[hazard]
    bins = ObservationBins.from_json(FOLDER / "prm_observation_bins_math.json")
    return PomdpModel(0.866, 0.9704, tuple(lengths[1:]), bins, 60)
