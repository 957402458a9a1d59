"""The weak model's own confidence in a step, after STEER (Lee et al., arXiv 2511.06190). No PRM is needed.

Departures: STEER takes its confidence from the logits before a step is written and finds its constant from a mixture
of two Gaussians over confidences; here it is the geometric mean of the draft's token probabilities against a constant
that is swept, so that the whole curve is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from trim.baselines.step_level.constant import ConstantRule
from trim.errors import ConfigError
from trim.types import Action, Observation


@dataclass(frozen=True)
class Confidence(ConstantRule):
    """REGENERATE iff the mean log-probability of the draft's tokens is below that of the constant."""

    parameter: float = 0.95
    name: str = "confidence"
    uses_scores: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.parameter <= 1.0:
            raise ConfigError(f"confidence: the constant must lie in [0, 1], not {self.parameter}")

    def at_effort(self, effort: float, scores: Sequence[float]) -> Confidence:
        """From 0 to 0.9999, on the scale of log(1 - confidence): token probabilities crowd below 1."""
        return self.at(1.0 - 1e-4**effort)

    def act(self, observation: Observation) -> Action:
        """Compare the confidence with the constant.

        Raises:
            ConfigError: the weak model's server does not report log-probabilities.
        """
        if observation.logprob is None:
            raise ConfigError("policy confidence needs log-probabilities, which this weak model does not give")
        return Action.CONTINUE if exp(observation.logprob) >= self.parameter else Action.REGENERATE
