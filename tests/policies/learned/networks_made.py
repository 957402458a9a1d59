"""Learned policies with made-up parameters, without torch."""

from __future__ import annotations

import numpy as np

from trim.policies.learned.features import OURS, WITH_RESAMPLE, Aggregate, PriceRange, Stepwise, Vector
from trim.policies.learned.policy import PAPER_ACTIONS, Kind, LearnedPolicy
from trim.types import Action

PRICES = PriceRange(1e-4, 1e-2)


def made_up(kind: Kind, *, resample: bool = False, seed: int = 0) -> LearnedPolicy:
    """A policy of the usual size whose actions depend on what it sees."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Vector] = {}

    def linear(name: str, inputs: int, outputs: int) -> None:
        arrays[f"{name}.weight"] = rng.normal(0, 2 * inputs**-0.5, (outputs, inputs)).astype(np.float32)
        arrays[f"{name}.bias"] = rng.normal(0, 0.1, outputs).astype(np.float32)

    def norm(name: str, width: int) -> None:
        arrays[f"{name}.weight"] = rng.normal(1, 0.1, width).astype(np.float32)
        arrays[f"{name}.bias"] = rng.normal(0, 0.1, width).astype(np.float32)

    def layer(name: str, inputs: int, outputs: int) -> None:
        linear(f"{name}.linear", inputs, outputs)
        norm(f"{name}.norm", outputs)

    actions = (*PAPER_ACTIONS, Action.RESAMPLE) if resample else PAPER_ACTIONS
    features = Aggregate(WITH_RESAMPLE if resample else OURS) if kind == "agg" else Stepwise()
    width = 64 if kind == "agg" else 32
    if kind == "agg":
        layer("encoder.0", features.width, width)
        layer("encoder.1", width, width)
    else:
        linear("embed", features.width, width)
        for block in ("blocks.0", "blocks.1"):
            norm(f"{block}.before", width)
            norm(f"{block}.between", width)
            for part, inputs, outputs in (("mixed", 1, 3), ("out", 1, 1), ("up", 1, 2), ("down", 2, 1)):
                linear(f"{block}.{part}", inputs * width, outputs * width)
    layer("actor.0", width, width)
    linear("actor.1", width, len(actions))
    return LearnedPolicy(kind, features, arrays, PRICES, 1e-3, actions)
