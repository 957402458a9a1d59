"""Pairs of texts that one model wrote for the same step: how often a text repeats the best one so far, how often it is
correct, and the fit of a `ResampleModel` to such pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trim.pomdp.fit.labels import StepLabels, best_of
from trim.pomdp.model import ResampleModel
from trim.pomdp.observation import STATES
from trim.stats import Estimate, proportion
from trim.types import Role, Trace

_CORRECT, _RECOVERABLE, _LOST = range(3)
_MIN_PAIRS, _MIN_DIFFERENT = 20, 5  # for each state; of different texts, after a correct and after a wrong one


@dataclass(frozen=True, slots=True)
class ResamplePair:
    """A text of a step, and the best-scored one by the same model before it.

    Args:
        question: the question's text; pairs of one question are correlated.
        earlier: number of texts before this one.
        differing: whether those differ.
        new: this text is none of them.
        best_state: of the best one before, index in `trim.pomdp.STATES`.
        correct: whether this text is.
        repeats: whether it is the best one again, word for word.
        scores: of the best one before and of this text.
    """

    question: str
    earlier: int
    differing: bool
    new: bool
    best_state: int
    correct: bool
    repeats: bool
    scores: tuple[float | None, float | None]


@dataclass(frozen=True)
class ResampleFit:
    """Estimates of the numbers of a `ResampleModel`, under its names.

    `after_identical` and `after_differing` are None where there are too few pairs. `score_correlation` is Pearson's,
    between the scores of two different texts of a step in the same state, each less the mean of its state; None where
    nothing varies. The model takes it to be 0.
    """

    repeat_probability: tuple[Estimate, Estimate, Estimate]
    accuracy_if_correct: Estimate
    accuracy_if_wrong: Estimate
    score_correlation: float | None
    after_identical: ResampleFit | None = None
    after_differing: ResampleFit | None = None

    @property
    def model(self) -> ResampleModel:
        """The `ResampleModel` of the point estimates."""
        correct, recoverable, lost = (estimate.value for estimate in self.repeat_probability)
        later = (None if fit is None else fit.model for fit in (self.after_identical, self.after_differing))
        return ResampleModel(
            (correct, recoverable, lost), self.accuracy_if_correct.value, self.accuracy_if_wrong.value, *later
        )


def find_resample_pairs(trace: Trace, labels: StepLabels, role: Role) -> Iterator[ResamplePair]:
    """Every text of a trace by this model that follows another one of the same step.

    Steps whose first strong text repeats a draft are left out for the strong model: such texts are not revised.
    """
    prefix_correct = True
    by_weak = role is Role.WEAK
    known = labels.drafts if by_weak else labels.strong_texts
    for decision, correct, kept in zip(trace.decisions, known, labels.kept, strict=True):
        texts = decision.drafts if by_weak else decision.strong_texts
        agrees = not by_weak and any(draft.step.content == texts[0].step.content for draft in decision.drafts if texts)
        for n in range(1, 0 if agrees else len(correct)):
            best = best_of(texts[:n])
            state = _LOST if not prefix_correct else _CORRECT if correct[best] else _RECOVERABLE
            earlier = {text.step.content for text in texts[:n]}
            yield ResamplePair(
                trace.question.text,
                n,
                differing=len(earlier) > 1,
                new=texts[n].step.content not in earlier,
                best_state=state,
                correct=correct[n],
                repeats=texts[best].step.content == texts[n].step.content,
                scores=(texts[best].score, texts[n].score),
            )
        prefix_correct = kept


def fit_resamples(pairs: Sequence[ResamplePair]) -> ResampleFit | None:
    """Estimate; None where there are too few pairs for one of the numbers."""
    first = _fit([pair for pair in pairs if pair.earlier == 1])
    if first is None:
        return None
    later = [pair for pair in pairs if pair.earlier > 1]
    identical, differing = (_fit([pair for pair in later if pair.differing is differ]) for differ in (False, True))
    return replace(first, after_identical=identical, after_differing=differing)


def _fit(pairs: Sequence[ResamplePair]) -> ResampleFit | None:
    by_state = [[pair for pair in pairs if pair.best_state == state] for state in range(len(STATES))]
    different = [[pair for pair in found if not pair.repeats] for found in by_state]
    if min(map(len, by_state)) < _MIN_PAIRS or min(map(len, different[:_LOST])) < _MIN_DIFFERENT:
        return None
    repeats = [proportion([pair.repeats for pair in found], _questions(found)) for found in by_state]
    return ResampleFit(
        (repeats[_CORRECT], repeats[_RECOVERABLE], repeats[_LOST]),
        _accuracy(different[_CORRECT]),
        _accuracy(different[_RECOVERABLE]),
        _score_correlation(different),
    )


def _accuracy(pairs: Sequence[ResamplePair]) -> Estimate:
    return proportion([pair.correct for pair in pairs], _questions(pairs))


def _questions(pairs: Sequence[ResamplePair]) -> list[str]:
    return [pair.question for pair in pairs]


def _score_correlation(different: Sequence[Sequence[ResamplePair]]) -> float | None:
    centred = []
    for state, found in enumerate(different):
        same_state = [pair.scores for pair in found if pair.correct is (state == _CORRECT)]
        scores = np.array([both for both in same_state if None not in both], float)
        if len(scores):
            centred.append(scores - scores.mean())
    if not centred:
        return None
    first, second = np.concatenate(centred).T
    spread = float(np.sqrt((first**2).mean() * (second**2).mean()))
    return float((first * second).mean()) / spread if spread > 0 else None
