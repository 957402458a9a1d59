"""Pairs of texts of one step, and the resample model that is fitted to them."""

from __future__ import annotations

import pytest

from tests.pomdp.fit.recorded import AFTER_RIGHT, AFTER_WRONG, WEAK, by_rule, off, record, rule
from trim.policies import RandomSteps
from trim.pomdp.fit.labels import best_of, label_by_rule
from trim.pomdp.fit.resample_pairs import ResamplePair, find_resample_pairs, fit_resamples
from trim.types import Role


def test_every_later_draft_is_paired_with_the_best_one_before_it() -> None:
    traces = record(RandomSteps(0.8, resamples=2, uses_scores=True), 30)
    drafts = sum(len(decision.drafts) - 1 for trace in traces for decision in trace.decisions if decision.drafts)
    found: list[ResamplePair] = []
    for trace in traces:
        labels = label_by_rule(rule)(trace)
        assert labels is not None
        found += find_resample_pairs(trace, labels, Role.WEAK)
    assert len(found) == drafts > 50
    assert {pair.earlier for pair in found} == {1, 2}
    assert not any(pair.differing for pair in found if pair.earlier == 1)
    assert all(pair.new for pair in found)  # simulated drafts never repeat
    decision = next(d for trace in traces for d in trace.decisions if len(d.drafts) == 3)
    scores = [draft.score or 0.0 for draft in decision.drafts]
    assert scores[best_of(decision.drafts)] == max(scores)


def pairs(state: int, count: int, *, repeats: int, correct: int, earlier: int = 1) -> list[ResamplePair]:
    """So many pairs, the first `repeats` of which repeat the text before; of the others `correct` are correct."""
    return [
        ResamplePair(
            f"question {state} {n}",
            earlier,
            differing=False,
            new=n >= repeats,
            best_state=state,
            correct=repeats <= n < repeats + correct,
            repeats=n < repeats,
            scores=(0.5, 0.5),
        )
        for n in range(count)
    ]


def test_the_fit_is_the_share_of_each_kind() -> None:
    given = [
        *pairs(0, 40, repeats=20, correct=15),
        *pairs(1, 40, repeats=10, correct=3),
        *pairs(2, 40, repeats=4, correct=0),
    ]
    found = fit_resamples(given)
    assert found is not None
    assert found.model.repeat_probability == (0.5, 0.25, 0.1)
    assert (found.model.accuracy_if_correct, found.model.accuracy_if_wrong) == (0.75, 0.1)
    assert found.after_identical is None
    assert found.score_correlation is None  # nothing varies
    assert fit_resamples(given[10:60]) is None


def test_resamples_tell_of_the_next_draft() -> None:
    """Simulated drafts of a step are right independently of each other and never the same text."""
    fitted = by_rule(record(RandomSteps(0.7, resamples=1, uses_scores=True), 600))
    found = fitted.resamples
    assert found is not None
    assert [estimate.value for estimate in found.repeat_probability] == [0.0, 0.0, 0.0]
    assert max(off(found.accuracy_if_correct, WEAK), off(found.accuracy_if_wrong, WEAK)) < 1.5
    assert found.score_correlation == pytest.approx(0, abs=0.1)
    assert fitted.model.resample_model == found.model
    assert off(fitted.weak_accuracy, WEAK) < 1.5  # first drafts alone tell of the weak model


def test_revised_strong_steps_tell_of_the_next_one() -> None:
    """Simulated strong texts are right independently of each other given the draft, and never the same."""
    fitted = by_rule(record(RandomSteps(0.7, resamples=1, uses_scores=True, max_revisions=2), 700))
    found = fitted.revise
    assert found is not None
    assert found.after_differing is not None
    assert found.after_identical is None  # no text was ever repeated
    assert [estimate.value for estimate in found.repeat_probability] == [0.0, 0.0, 0.0]
    assert AFTER_WRONG < found.accuracy_if_wrong.value < found.after_differing.accuracy_if_correct.value < AFTER_RIGHT
    assert (
        found.after_differing.accuracy_if_wrong.value < found.accuracy_if_wrong.value
    )  # the third text stands at harder steps
    assert fitted.model.revise_model == found.model
    assert fitted.model.resample_observation is not None  # the simulated PRM judges all texts alike
    first, later = fitted.model.observation.scores_only(), fitted.model.resample_observation
    assert max(later.score_likelihood(1.0, 0.1)) == later.score_likelihood(1.0, 0.1)[1]
    assert max(first.score_likelihood(1.0, 0.1)) == first.score_likelihood(1.0, 0.1)[1]
    assert (fitted.strong_accuracy.value - fitted.strong_accuracy.low) < 0.05
    assert off(fitted.weak_accuracy, WEAK) < 1.5


def test_few_resample_pairs_are_not_used() -> None:
    assert by_rule(record(RandomSteps(0.5, uses_scores=True), 300)).resamples is None
