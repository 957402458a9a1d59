"""TRIM-Thr (paper, section on threshold policies): reject a step whose score is below a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trim.errors import ConfigError
from trim.policies.fixed import rejection
from trim.protocols import Tunable
from trim.types import Action, Observation

_FEWEST_SCORES = 20


def score_quantile(share: float, scores: Sequence[float]) -> float:
    """The score below which this share of recent ones lies; 1 for all of them, 0.5 where fewer than 20 are known."""
    if len(scores) < _FEWEST_SCORES:
        return 0.5
    if share >= 1.0:
        return 1.0
    place = share * (len(scores) - 1)
    ordered = sorted(scores)
    below = int(place)
    above = ordered[min(below + 1, len(ordered) - 1)]
    return ordered[below] + (place - below) * (above - ordered[below])


@dataclass(frozen=True)
class Threshold(Tunable):
    """REGENERATE iff r_t < k, after `resamples` further drafts of the weak model (0 is the paper).

    Args:
        threshold: k in [0, 1]; 0 keeps everything (weak only, no PRM), 1 rejects everything (strong only, no drafts).
        resamples: rejected drafts that are tried again (RESAMPLE) before the strong model is asked.
        max_revisions: how often the strong model's own text is written again while it scores below k as well.
    """

    threshold: float
    resamples: int = 0
    name: str = "threshold"
    max_revisions: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"threshold must lie in [0, 1], not {self.threshold}")
        if self.resamples < 0:
            raise ConfigError(f"threshold: resamples must be 0 or more, not {self.resamples}")

    @property
    def parameter(self) -> float:
        """The lowest score that is kept."""
        return self.threshold

    @property
    def uses_drafts(self) -> bool:
        """False at k = 1."""
        return self.threshold < 1.0

    @property
    def uses_scores(self) -> bool:
        """False at both ends."""
        return 0.0 < self.threshold < 1.0

    def at(self, parameter: float) -> Threshold:
        return replace(self, threshold=parameter)

    def at_effort(self, effort: float, scores: Sequence[float]) -> Threshold:
        """The quantile of recent scores as k: an effort of 0.2 rejects the worst fifth, whatever they look like."""
        return self.at(score_quantile(effort, scores))

    def act(self, observation: Observation) -> Action:
        """Compare the draft's score with k."""
        if not observation.scores or observation.score >= self.threshold:  # k = 0 asks for no scores
            return Action.CONTINUE
        return rejection(observation, self.resamples)


def oracle() -> Threshold:
    """For a judge that knows which steps are right (`trim.scoring.oracle`): exactly the wrong ones are rejected."""
    return Threshold(0.5, name="oracle")
