"""What recorded second texts of a step say of the next: how often it repeats the one before, how often it is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trim.pomdp.model import ResampleModel
from trim.pomdp.observation import STATES
from trim.stats import Estimate, proportion
from trim.types import Draft, Role, Trace

if TYPE_CHECKING:
    from trim.pomdp.fit.labels import StepLabels

_CORRECT, _RECOVERABLE, _LOST = range(3)
_FEWEST, _FEWEST_DIFFERENT = 20, 5  # pairs for each state; different ones after a right and after a wrong text


@dataclass(frozen=True, slots=True)
class Redraft:
    """A text of a step, and the best-scored one by the same author before it: that one's state, whether the later one
    is right, whether it is the same text, and both scores.

    `earlier` says how many texts there were before it, `mixed` whether those differed, `new` that it is none of them.
    """

    question: str
    earlier: int
    mixed: bool
    new: bool
    before: int
    right: bool
    same: bool
    scores: tuple[float | None, float | None]


@dataclass(frozen=True)
class ResampleFit:
    """ResampleModel, and how sure each number is; `same` by state, in the order of `trim.pomdp.STATES`.

    `steady` and `mixed` are of texts after two or more, alike or not; None where there are too few.
    `correlation` is Pearson's, between the scores of two different texts of a step that are in the same state, each
    less the mean of its state; None where nothing varies. The model takes it to be 0.
    """

    same: tuple[Estimate, Estimate, Estimate]
    after_right: Estimate
    after_wrong: Estimate
    correlation: float | None
    steady: ResampleFit | None = None
    mixed: ResampleFit | None = None

    @property
    def model(self) -> ResampleModel:
        """The numbers alone."""
        correct, recoverable, lost = (estimate.value for estimate in self.same)
        later = (None if fit is None else fit.model for fit in (self.steady, self.mixed))
        return ResampleModel((correct, recoverable, lost), self.after_right.value, self.after_wrong.value, *later)


def find_redrafts(trace: Trace, labels: StepLabels, author: Role) -> Iterator[Redraft]:
    """All texts by this model in a trace that follow another one of the same step; of the strong model where its first
    is no draft again, as only such steps are revised.
    """
    sound = True
    by_weak = author is Role.WEAK
    known = labels.drafts if by_weak else labels.strong_texts
    for decision, rights, kept in zip(trace.decisions, known, labels.kept, strict=True):
        texts = decision.drafts if by_weak else decision.strong_texts
        agrees = not by_weak and any(draft.step.text == texts[0].step.text for draft in decision.drafts if texts)
        for n in range(1, 0 if agrees else len(rights)):
            best = best_of(texts[:n])
            before = _LOST if not sound else _CORRECT if rights[best] else _RECOVERABLE
            same = texts[best].step.text == texts[n].step.text
            written = {text.step.text for text in texts[:n]}
            new = texts[n].step.text not in written
            scores = texts[best].score, texts[n].score
            yield Redraft(trace.question.text, n, len(written) > 1, new, before, rights[n], same, scores)
        sound = kept


def best_of(texts: Sequence[Draft]) -> int:
    """The one that the Router keeps."""
    return max(range(len(texts)), key=lambda n: (-1.0 if texts[n].score is None else texts[n].score, -n))


def fit_resamples(redrafts: Sequence[Redraft]) -> ResampleFit | None:
    """Estimate; None where there are too few pairs for one of the numbers."""
    first = _fit([redraft for redraft in redrafts if redraft.earlier == 1])
    if first is None:
        return None
    later = [redraft for redraft in redrafts if redraft.earlier > 1]
    steady, mixed = (_fit([redraft for redraft in later if redraft.mixed is regime]) for regime in (False, True))
    return replace(first, steady=steady, mixed=mixed)


def _fit(redrafts: Sequence[Redraft]) -> ResampleFit | None:
    by_state = [[redraft for redraft in redrafts if redraft.before == state] for state in range(len(STATES))]
    differ = [[redraft for redraft in found if not redraft.same] for found in by_state]
    if min(map(len, by_state)) < _FEWEST or min(map(len, differ[:_LOST])) < _FEWEST_DIFFERENT:
        return None

    def share(found: Sequence[Redraft], name: str) -> Estimate:
        return proportion([getattr(redraft, name) for redraft in found], [redraft.question for redraft in found])

    correct, recoverable, lost = (share(found, "same") for found in by_state)
    after_right, after_wrong = (share(found, "right") for found in differ[:_LOST])
    return ResampleFit((correct, recoverable, lost), after_right, after_wrong, _correlation(differ))


def _correlation(differ: Sequence[Sequence[Redraft]]) -> float | None:
    centred = []
    for state, found in enumerate(differ):
        alike = [redraft.scores for redraft in found if redraft.right is (state == _CORRECT)]
        pairs = np.array([scores for scores in alike if None not in scores], float)
        if len(pairs):
            centred.append(pairs - pairs.mean())
    if not centred:
        return None
    first, second = np.concatenate(centred).T
    spread = float(np.sqrt((first**2).mean() * (second**2).mean()))
    return float((first * second).mean()) / spread if spread > 0 else None
