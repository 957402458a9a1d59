"""Take-over: after the first rejected draft the strong model writes all that follows.

What many systems do that hand a query over once (cascades within a solution). It shows what going back to the weak
model after a repair is worth: everything else is the threshold policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trim.baselines.step_level.constant import ConstantRule
from trim.errors import ConfigError
from trim.policies.threshold import score_quantile
from trim.types import Action, Observation


@dataclass(frozen=True)
class TakeOver(ConstantRule):
    """TAKE_OVER iff r_t < k, the constant."""

    parameter: float = 0.65
    name: str = "take-over"

    def __post_init__(self) -> None:
        if not 0.0 <= self.parameter <= 1.0:
            raise ConfigError(f"take-over: k must lie in [0, 1], not {self.parameter}")

    def at_effort(self, effort: float, scores: Sequence[float]) -> TakeOver:
        """The quantile of recent scores as k."""
        return self.at(score_quantile(effort, scores))

    def act(self, observation: Observation) -> Action:
        """Compare the draft's score with k."""
        return Action.CONTINUE if observation.score >= self.parameter else Action.TAKE_OVER
