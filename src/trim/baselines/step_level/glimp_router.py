"""GlimpRouter ("Efficient Collaborative Inference by Glimpsing One Token of Thoughts", 2026): first-token entropy.

The weak model's entropy over the first token of a step says whether the step is hard; above a constant the strong
model writes it. No process reward model is needed.

Departure: the paper glimpses one token and leaves the step to the strong model before the weak one writes it; here the
draft is there already, so a rewritten step costs its weak tokens too. The strong tokens are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trim.baselines.step_level.constant import ConstantRule
from trim.errors import ConfigError
from trim.types import Action, Observation


@dataclass(frozen=True)
class GlimpRouter(ConstantRule):
    """REGENERATE iff the entropy of the draft's first token is above the constant, in nats."""

    parameter: float = 0.02
    name: str = "glimp-router"
    uses_scores: bool = False

    def __post_init__(self) -> None:
        if not self.parameter >= 0:
            raise ConfigError(f"glimp-router: the entropy must be 0 or more nats, not {self.parameter}")

    def at_effort(self, effort: float, scores: Sequence[float]) -> GlimpRouter:
        """From 10 nats down to 0.0001, on a logarithmic scale."""
        return self.at(10.0 * 1e-5**effort)

    def act(self, observation: Observation) -> Action:
        """Compare the entropy with the constant.

        Raises:
            ConfigError: the weak model's server does not report entropies.
        """
        if observation.entropy is None:
            raise ConfigError("policy glimp-router needs first-token entropies, which this weak model does not give")
        return Action.REGENERATE if observation.entropy > self.parameter else Action.CONTINUE
