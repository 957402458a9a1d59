"""TRIM-Thr (paper, section on threshold policies): reject a step whose score is below a constant."""

from __future__ import annotations

from dataclasses import dataclass

from trim.errors import ConfigError
from trim.types import Action, Observation


@dataclass(frozen=True)
class Threshold:
    """REGENERATE iff r_t < k, after `resamples` further drafts of the weak model (0 is the paper).

    Args:
        threshold: k in [0, 1]; 0 keeps everything (weak only, no PRM), 1 rejects everything (strong only, no drafts).
        resamples: rejected drafts that are tried again (RESAMPLE) before the strong model is asked.
        revisions: how often the strong model's own text is written again while it scores below k as well.
    """

    threshold: float
    resamples: int = 0
    name: str = "threshold"
    revisions: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"threshold: k must lie in [0, 1], not {self.threshold}")
        if self.resamples < 0:
            raise ConfigError(f"threshold: resamples must be 0 or more, not {self.resamples}")

    @property
    def parameter(self) -> float:
        """K."""
        return self.threshold

    @property
    def uses_drafts(self) -> bool:
        """False at k = 1."""
        return self.threshold < 1.0

    @property
    def uses_scores(self) -> bool:
        """False at both ends."""
        return 0.0 < self.threshold < 1.0

    def act(self, observation: Observation) -> Action:
        """Compare the draft's score with k."""
        if not observation.scores:
            return Action.CONTINUE  # k = 0 asks for no scores
        if observation.score >= self.threshold:
            return Action.CONTINUE
        if observation.strong_texts:
            return Action.REVISE
        return Action.RESAMPLE if observation.drafts <= self.resamples else Action.REGENERATE
