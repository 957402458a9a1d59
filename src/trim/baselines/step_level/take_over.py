"""Take-over: after the first rejected draft the strong model writes all that follows.

What many systems do that hand a query over once (cascades within a solution). It shows what going back to the weak
model after a repair is worth: everything else is the threshold policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trim.errors import ConfigError
from trim.policies.threshold import score_quantile
from trim.protocols import Tunable
from trim.types import Action, Observation


@dataclass(frozen=True)
class TakeOver(Tunable):
    """TAKE_OVER iff r_t < k."""

    threshold: float
    name: str = "take-over"
    uses_drafts: bool = True
    uses_scores: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"take-over: k must lie in [0, 1], not {self.threshold}")

    @property
    def parameter(self) -> float:
        """The lowest score that is kept."""
        return self.threshold

    def at(self, parameter: float) -> TakeOver:
        """The same with another k."""
        return replace(self, threshold=parameter)

    def at_effort(self, effort: float, scores: Sequence[float]) -> TakeOver:
        """The quantile of recent scores as k."""
        return self.at(score_quantile(effort, scores))

    def act(self, observation: Observation) -> Action:
        """Compare the draft's score with k."""
        return Action.CONTINUE if observation.score >= self.threshold else Action.TAKE_OVER
