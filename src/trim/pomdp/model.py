"""The routing problem as a partially observable Markov decision process (paper, section on TRIM-POMDP).

The hidden state is that of the solution with the draft on the table: CORRECT, RECOVERABLE (the draft is the first wrong
step) or LOST (an earlier kept step is wrong). An action leaves a kept prefix that is correct with some probability k;
the next draft is then CORRECT with k p_w, RECOVERABLE with k (1 - p_w) and LOST with 1 - k.
"""

from __future__ import annotations

from dataclasses import dataclass

from trim.errors import ConfigError
from trim.pomdp.observation import ObservationBins


@dataclass(frozen=True)
class ResampleModel:
    """The next text that one model writes for a step, given its best-scored text for that step so far.

    RESAMPLE asks the weak model for it, REVISE the strong one. "Wrong" means the first wrong step of the solution.

    Args:
        repeat_probability: P(the next text repeats the best one word for word | that one is CORRECT, RECOVERABLE,
            LOST).
        accuracy_if_correct: P(the next text is correct | it is a different text, and the best one was correct).
        accuracy_if_wrong: the same where the best one was wrong.
        after_identical: the model of texts after two or more that were all identical.
        after_differing: the model of texts after two or more that were not. A step on which a model contradicts itself
            is a hard one: there even correct texts are rarely repeated.

    Where `after_identical` or `after_differing` is None, later texts are taken to be correct as often as a second one,
    and repetitions among them are not used as evidence.

    Raises:
        ConfigError: a probability out of its range.
    """

    repeat_probability: tuple[float, float, float]
    accuracy_if_correct: float
    accuracy_if_wrong: float
    after_identical: ResampleModel | None = None
    after_differing: ResampleModel | None = None

    def __post_init__(self) -> None:
        values = (*self.repeat_probability, self.accuracy_if_correct, self.accuracy_if_wrong)
        if not all(0.0 <= value <= 1.0 for value in values):
            raise ConfigError(f"POMDP: a resample model's numbers must be probabilities in [0, 1], not {values}")

    def with_repeat_weight(self, weight: float) -> ResampleModel:
        """The same model with the evidence of a repetition scaled: 1 leaves it, 0 removes it.

        Each state's repeat probability is moved towards that of RECOVERABLE; at 0 all three are equal.
        """
        correct, wrong, lost = (
            weight * share + (1 - weight) * self.repeat_probability[1] for share in self.repeat_probability
        )
        later = (
            None if model is None else model.with_repeat_weight(weight)
            for model in (self.after_identical, self.after_differing)
        )
        return ResampleModel((correct, wrong, lost), self.accuracy_if_correct, self.accuracy_if_wrong, *later)

    def given(self, earlier: int, *, differing: bool) -> ResampleModel:
        """The model of the next text, given how many there are and whether they differ."""
        if earlier == 1:
            return self
        later = self.after_differing if differing else self.after_identical
        if later is not None:
            return later
        return ResampleModel((self.repeat_probability[1],) * 3, self.accuracy_if_correct, self.accuracy_if_wrong)


@dataclass(frozen=True)
class PomdpModel:
    """A pair of models, a process reward model and a task, in numbers.

    Args:
        weak_accuracy: p_w in (0, 1], P(a weak step is correct | everything before it is).
        strong_accuracy: p_s in [0, 1], the same of strong steps.
        hazard: hazard[t], t = 0, 1, ...: probability that the draft after step t is the final one; 1 past the end.
        observation: distribution of scores given the state.
        step_tokens: mean tokens of a step, what REGENERATE costs at steps to come.
        repair_accuracy: q_R, P(the strong step is correct | the draft was wrong); None: p_s, as in the paper. Where the
            draft was correct the strong step is correct with q_C, so that p_w q_C + (1 - p_w) q_R = p_s.
        resample_model: another weak draft of the same step; None: unknown, RESAMPLE is not available.
        agreement: P(the strong model writes the draft again word for word | the draft is CORRECT, RECOVERABLE, LOST);
            None: unknown, every strong step counts as a different text.
        repair_observation: scores of strong steps that differ from the draft, given their own state. They occur at hard
            steps, so correct ones score lower than other correct steps. None: as `observation`.
        final_accuracy: P(a draft that ends the solution is correct | everything before it is). Such a draft often only
            repeats the result. None: p_w; otherwise p_w and p_s are those of the steps before.
        past_weight: exponent in [0, 1] on the likelihood of scores of earlier steps in the filter. 1: scores are
            independent given the states; less where the errors of the scores within a solution are correlated.
        revise_model: another text of the strong model for the same step; None: unknown, REVISE is not available.
        resample_observation: scores of drafts that differ from all earlier ones of their step, given their own state.
            They occur at hard steps. None: as `observation`.

    Raises:
        ConfigError: a number out of its range, or a q_R that leaves no q_C in [0, 1].
    """

    weak_accuracy: float
    strong_accuracy: float
    hazard: tuple[float, ...]
    observation: ObservationBins
    step_tokens: float
    repair_accuracy: float | None = None
    resample_model: ResampleModel | None = None
    agreement: tuple[float, float, float] | None = None
    repair_observation: ObservationBins | None = None
    final_accuracy: float | None = None
    past_weight: float = 1.0
    revise_model: ResampleModel | None = None
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
        if (agreement := self.agreement) is not None and not (
            0 <= agreement[0] <= self.strong_accuracy_if_correct + 1e-9
            and 0 <= agreement[1] <= 1 - self.strong_accuracy_if_wrong + 1e-9
            and 0 <= agreement[2] <= 1
        ):
            raise ConfigError(f"POMDP: agreement {agreement} contradicts the accuracy of strong steps")
        if (
            not 0.0 <= self.strong_accuracy_if_wrong <= 1.0
            or not -1e-9 <= self.strong_accuracy_if_correct <= 1.0 + 1e-9
        ):
            raise ConfigError(
                f"POMDP: repair_accuracy {self.repair_accuracy} contradicts step accuracies {self.weak_accuracy} and "
                f"{self.strong_accuracy}: after a correct draft the strong step would be correct with probability "
                f"{self.strong_accuracy_if_correct:.3f}"
            )

    def draft_accuracy(self, *, final: bool) -> float:
        """P(a draft is correct | everything before it is), for a draft that ends the solution or for another."""
        return self.final_accuracy if final and self.final_accuracy is not None else self.weak_accuracy

    @property
    def strong_observation(self) -> ObservationBins:
        """Scores of strong steps that differ from the draft."""
        return self.repair_observation or self.observation

    @property
    def strong_accuracy_if_wrong(self) -> float:
        """q_R: P(the strong step is correct | the draft was the first wrong step)."""
        return self.strong_accuracy if self.repair_accuracy is None else self.repair_accuracy

    @property
    def strong_accuracy_if_correct(self) -> float:
        """q_C: P(the strong step is correct | the draft was correct)."""
        return (self.strong_accuracy - (1 - self.weak_accuracy) * self.strong_accuracy_if_wrong) / self.weak_accuracy
