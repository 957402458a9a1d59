"""The routing problem as a partially observable Markov decision process (paper, section on TRIM-POMDP).

Hidden state of the solution with the draft on the table: CORRECT, RECOVERABLE (the draft is the first wrong step) or
LOST (an earlier kept step is wrong). An action leaves a kept prefix that is right with some probability k; the next
draft is then CORRECT with k p_w, RECOVERABLE with k (1 - p_w) and LOST with 1 - k.
"""

from __future__ import annotations

from dataclasses import dataclass

from trim.errors import ConfigError
from trim.pomdp.observation import ObservationBins


@dataclass(frozen=True)
class ResampleModel:
    """What a model's next text for a step is like, given the best-scored one before it.

    Args:
        same: P(it repeats that one word for word | that one is CORRECT, RECOVERABLE, LOST).
        after_right, after_wrong: P(it is right | it differs, and that one was right, or the first wrong step).
        steady, mixed: the same of later texts, where all before were alike, and where they were not. A step on which a
            model contradicts itself is a hard one: there even right texts are rarely repeated. None: unknown, that a
            later text repeats another tells nothing.

    Raises:
        ConfigError: a probability out of its range.
    """

    same: tuple[float, float, float]
    after_right: float
    after_wrong: float
    steady: ResampleModel | None = None
    mixed: ResampleModel | None = None

    def __post_init__(self) -> None:
        values = (*self.same, self.after_right, self.after_wrong)
        if not all(0.0 <= value <= 1.0 for value in values):
            raise ConfigError(f"POMDP: resamples must be probabilities in [0, 1], not {values}")

    def weighed(self, weight: float) -> ResampleModel:
        """The same with less, or at 0 no, difference between the states in how often a text is repeated: what a repeat
        then counts for.
        """
        correct, wrong, lost = (weight * share + (1 - weight) * self.same[1] for share in self.same)
        later = (None if kind is None else kind.weighed(weight) for kind in (self.steady, self.mixed))
        return ResampleModel((correct, wrong, lost), self.after_right, self.after_wrong, *later)

    def after(self, texts: int, *, mixed: bool) -> ResampleModel:
        """What the next one is like after so many."""
        if texts == 1:
            return self
        known = self.mixed if mixed else self.steady
        return known or ResampleModel((self.same[1],) * 3, self.after_right, self.after_wrong)


@dataclass(frozen=True)
class PomdpModel:
    """A pair of models, a process reward model and a task, in numbers.

    Args:
        weak_accuracy, strong_accuracy: p_w in (0, 1], p_s in [0, 1]: P(a step is right | everything before it is).
        hazard: hazard[t], t = 0, 1, ...: probability that the draft after step t is the final one; 1 past the end.
        observation: scores given the state.
        step_tokens: mean tokens of a step, what REGENERATE costs at steps to come.
        repair_accuracy: q_R, P(the strong step is right | the draft was wrong); None: p_s, as in the paper. Where the
            draft was right the strong step is right with q_C, so that p_w q_C + (1 - p_w) q_R = p_s.
        resamples: what another draft of the same step is like; None: unknown, there is no RESAMPLE.
        resample_observation: scores of drafts that differ from all before them of the same step, given what they are.
            They stand where steps are hard. None: as `observation`.
        revise: what the strong model's second text for a step is like; None: unknown, it is not asked twice.
        agreement: P(the strong model writes the draft again word for word | the draft is CORRECT, RECOVERABLE, LOST);
            None: unknown, every strong step counts as another text.
        repair_observation: scores of strong steps that differ from the draft, given what they are (RECOVERABLE: wrong).
            They stand where steps are hard, so right ones score lower than other right steps. None: as `observation`.
        final_accuracy: P(a draft that ends the solution is right | everything before it is). Such a draft often only
            says the result again. None: as any other, p_w; otherwise p_w and p_s are those of the steps before.
        past_weight: what the scores of steps before the draft count for in the filter, the power of their likelihood.
            1: independent given their states; less where the errors of the scores in one solution hang together.

    Raises:
        ConfigError: a number out of its range, or a q_R that leaves no q_C in [0, 1].
    """

    weak_accuracy: float
    strong_accuracy: float
    hazard: tuple[float, ...]
    observation: ObservationBins
    step_tokens: float
    repair_accuracy: float | None = None
    resamples: ResampleModel | None = None
    agreement: tuple[float, float, float] | None = None
    repair_observation: ObservationBins | None = None
    final_accuracy: float | None = None
    past_weight: float = 1.0
    revise: ResampleModel | None = None
    resample_observation: ObservationBins | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "hazard", tuple(float(h) for h in self.hazard))
        if not 0.0 < self.weak_accuracy <= 1.0 or not 0.0 <= self.strong_accuracy <= 1.0:
            raise ConfigError(
                "POMDP: step accuracies must lie in (0, 1] and [0, 1], "
                f"not {self.weak_accuracy} and {self.strong_accuracy}"
            )
        if not 0.0 < self.draft_accuracy(final=True) <= 1.0:
            raise ConfigError(f"POMDP: final_accuracy must lie in (0, 1], not {self.final_accuracy}")
        if not 0.0 <= self.past_weight <= 1.0:
            raise ConfigError(f"POMDP: past_weight must lie in [0, 1], not {self.past_weight}")
        if not self.hazard or not all(0.0 <= h <= 1.0 for h in self.hazard):
            raise ConfigError(f"POMDP: the hazard needs at least one entry, all in [0, 1], not {self.hazard}")
        if not self.step_tokens > 0:
            raise ConfigError(f"POMDP: step_tokens must be positive, not {self.step_tokens}")
        if (again := self.agreement) is not None and not (
            0 <= again[0] <= self.after_right + 1e-9
            and 0 <= again[1] <= 1 - self.after_wrong + 1e-9
            and 0 <= again[2] <= 1
        ):
            raise ConfigError(f"POMDP: agreement {again} does not go with what strong steps get right")
        if not 0.0 <= self.after_wrong <= 1.0 or not -1e-9 <= self.after_right <= 1.0 + 1e-9:
            raise ConfigError(
                f"POMDP: repair_accuracy {self.repair_accuracy} does not go with step accuracies {self.weak_accuracy} "
                f"and {self.strong_accuracy}: after a right draft the strong step is right with {self.after_right:.3f}"
            )

    def draft_accuracy(self, *, final: bool) -> float:
        """P(a draft is right | everything before it is)."""
        return self.final_accuracy if final and self.final_accuracy is not None else self.weak_accuracy

    @property
    def strong_observation(self) -> ObservationBins:
        """Scores of strong steps that are another text than the draft."""
        return self.repair_observation or self.observation

    @property
    def after_wrong(self) -> float:
        """q_R: P(the strong step is right | the draft was the first wrong step)."""
        return self.strong_accuracy if self.repair_accuracy is None else self.repair_accuracy

    @property
    def after_right(self) -> float:
        """q_C: P(the strong step is right | the draft was right)."""
        return (self.strong_accuracy - (1 - self.weak_accuracy) * self.after_wrong) / self.weak_accuracy
