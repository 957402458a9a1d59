"""SpecReason (Pan et al., arXiv 2504.07891): the strong model grades each draft from 0 to 9.

A draft whose grade is below a constant (7 in the paper) is written anew by the strong model. The grades come in as
scores, grade / 9: from a server by asking its model for a digit (`trim.scoring.llm_judge`), from the shipped strong
model, which knows nothing but mathematics, by how likely it finds the draft's least likely token.

Departures: that likelihood in place of a grade where the model cannot be asked; grades are of the newest step with the
steps before it, without the paper's long thoughts. The grader's tokens are billed at the strong model's prices, but as
reading and one digit they are no strong tokens of the strong share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trim.errors import ConfigError
from trim.policies.threshold import score_quantile
from trim.protocols import Tunable
from trim.types import Action, Observation


@dataclass(frozen=True)
class SpecReason(Tunable):
    """Accept a draft iff its grade, round(9 r_t), is at least `grade`."""

    grade: float = 7
    name: str = "spec-reason"
    uses_drafts: bool = True
    uses_scores: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.grade <= 9:
            raise ConfigError(f"spec-reason: the grade must lie in 0 to 9, not {self.grade}")

    @property
    def parameter(self) -> float:
        """The lowest grade that is accepted."""
        return self.grade

    def at(self, parameter: float) -> SpecReason:
        """The same with another grade."""
        return replace(self, grade=parameter)

    def at_effort(self, effort: float, scores: Sequence[float]) -> SpecReason:
        """The grade is nine times that quantile of recent scores."""
        return self.at(9 * score_quantile(effort, scores))

    def act(self, observation: Observation) -> Action:
        """Compare the grade with the constant."""
        return Action.CONTINUE if round(9 * observation.score) >= self.grade else Action.REGENERATE
