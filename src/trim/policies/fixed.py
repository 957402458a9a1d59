"""Policies that look at nothing: the two ends of every plot, and the line between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trim.errors import ConfigError
from trim.protocols import Policy, Tunable
from trim.types import Action, Observation


@dataclass(frozen=True)
class AlwaysWeak(Policy):
    """The weak model writes everything; no PRM call."""

    name: str = "always-weak"
    parameter: float | None = None
    uses_scores: bool = False

    def act(self, observation: Observation) -> Action:
        """CONTINUE, whatever the draft is."""
        return Action.CONTINUE


@dataclass(frozen=True)
class AlwaysStrong(Policy):
    """The strong model writes everything; no draft and no PRM call."""

    name: str = "always-strong"
    parameter: float | None = None
    uses_drafts: bool = False
    uses_scores: bool = False

    def act(self, observation: Observation) -> Action:
        """TAKE_OVER at the first step; there is no other."""
        return Action.TAKE_OVER


@dataclass(frozen=True)
class RandomSteps(Tunable):
    """REGENERATE each step with probability `rate`, whatever it says: what strong tokens buy without a judge.

    Args:
        rate: p in [0, 1]; 0 is always-weak, 1 is always-strong (and then drafts nothing).
        resamples: drafts that are tried again first, each with the same probability (for `trim fit`).
        uses_scores: have drafts scored all the same, for the record; as with `AlwaysWeak`.
        max_revisions: the strong model's text is written again, each time with the same probability (for `trim fit`).
    """

    rate: float
    resamples: int = 0
    name: str = "random"
    uses_scores: bool = False
    max_revisions: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise ConfigError(f"random: the rate must lie in [0, 1], not {self.rate}")
        if self.resamples < 0:
            raise ConfigError(f"random: resamples must be 0 or more, not {self.resamples}")

    @property
    def parameter(self) -> float:
        """The share of steps that the strong model writes."""
        return self.rate

    @property
    def uses_drafts(self) -> bool:
        """False when every step is the strong model's anyway."""
        return self.rate < 1.0

    def at(self, parameter: float) -> RandomSteps:
        return replace(self, rate=parameter)

    def at_effort(self, effort: float, scores: Sequence[float]) -> RandomSteps:
        """The effort is the rate."""
        return self.at(effort)

    def act(self, observation: Observation) -> Action:
        """Reject the draft iff the observation's uniform draw lies below the rate."""
        return Action.CONTINUE if observation.draw >= self.rate else rejection(observation, self.resamples)


def rejection(observation: Observation, resamples: int) -> Action:
    """How a text is rejected: one of the strong model is revised, a draft resampled so often, then regenerated."""
    if observation.strong_texts:
        return Action.REVISE
    return Action.RESAMPLE if observation.drafts <= resamples else Action.REGENERATE


def scored(policy: Policy) -> Policy:
    """The same policy with every draft scored for the record, even if it looks at no score (for `trim fit`)."""
    return replace(policy, uses_scores=True) if isinstance(policy, AlwaysWeak | RandomSteps) else policy
