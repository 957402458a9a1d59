"""RSD, reward-guided speculative decoding (Liao et al., arXiv 2501.19324): the reward decides what is accepted.

A draft is accepted with a probability that is a function of its reward, else the strong model writes the step. The
paper's binary function accepts from a constant delta on (0.7 in its experiments), which is the threshold policy at
that constant; its clipped one accepts with the reward itself as the probability.

Departures: rewards here are P(step is correct) of the configured PRM; what is rejected is written by the strong model
itself, not drawn from the paper's mixture distribution, as in its own implementation.
"""

from __future__ import annotations

from dataclasses import dataclass

from trim.policies import Threshold
from trim.protocols import Policy
from trim.types import Action, Observation


def rsd(delta: float = 0.7) -> Threshold:
    """Accept a draft iff r_t >= delta.

    Raises:
        ConfigError: delta lies outside [0, 1].
    """
    return Threshold(delta, name="rsd")


@dataclass(frozen=True)
class RsdClipped(Policy):
    """Accept a draft with probability r_t."""

    name: str = "rsd-clipped"

    def act(self, observation: Observation) -> Action:
        """Compare the reward with the observation's uniform draw."""
        return Action.CONTINUE if observation.draw < observation.score else Action.REGENERATE
