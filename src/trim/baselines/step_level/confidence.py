"""The weak model's own confidence in a step, after STEER (Lee et al., arXiv 2511.06190). No PRM is needed.

Departures: STEER takes its confidence from the logits before a step is written and finds its constant from a mixture
of two Gaussians over confidences; here it is the geometric mean of the draft's token probabilities against a constant
that is swept, so that the whole curve is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from trim.errors import ConfigError
from trim.types import Action, Observation


@dataclass(frozen=True)
class Confidence:
    """REGENERATE iff the mean log-probability of the draft's tokens is below log `confidence`."""

    confidence: float
    name: str = "confidence"
    uses_drafts: bool = True
    uses_scores: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.confidence <= 1.0:
            raise ConfigError(f"confidence: the constant must lie in [0, 1], not {self.confidence}")

    @property
    def parameter(self) -> float:
        """The smallest mean token probability that is accepted."""
        return self.confidence

    def act(self, observation: Observation) -> Action:
        """Compare the confidence with the constant.

        Raises:
            ConfigError: the weak model's server tells no log-probabilities.
        """
        if observation.logprob is None:
            raise ConfigError("policy confidence needs log-probabilities, which this weak model does not give")
        return Action.CONTINUE if exp(observation.logprob) >= self.confidence else Action.REGENERATE
