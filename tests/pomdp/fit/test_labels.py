"""Step labels by a rule and by the paper's shortcut, and the labelled observations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.pomdp.fit.recorded import ENDS, STRONG, WEAK, record, rule
from trim.policies import AlwaysStrong, RandomSteps
from trim.pomdp.fit.estimation import fit
from trim.pomdp.fit.labels import (
    label_by_prm,
    label_by_rule,
    labelled_drafts,
    labelled_points,
    labelled_resamples,
)
from trim.simulation import is_right

RANDOM = RandomSteps(0.5, uses_scores=True)


def test_a_rule_labels_every_text_in_the_prefix_that_it_stood_in() -> None:
    traces = record(RandomSteps(0.7, resamples=1, uses_scores=True), 30)
    assert any(decision.rejected for trace in traces for decision in trace.decisions)
    for trace in traces:
        labels = label_by_rule(rule)(trace)
        assert labels is not None
        texts = tuple(step.text for step in trace.steps)
        assert labels.kept == rule(trace.question, texts)
        for t, decision in enumerate(trace.decisions):
            for label, draft in zip(labels.drafts[t], decision.drafts, strict=True):
                assert label is is_right((*texts[:t], draft.step.text))
            for label, text in zip(labels.strong_texts[t], decision.strong_texts, strict=True):
                assert label is is_right((*texts[:t], text.step.text))


def test_labelled_drafts_end_with_the_drafts_own_score() -> None:
    for trace in record(RANDOM, 10):
        labels = label_by_rule(rule)(trace)
        assert labels is not None
        found = list(labelled_drafts(trace, labels, ENDS))
        assert len(found) == len(trace.decisions)
        for t, (draft, decision) in enumerate(zip(found, trace.decisions, strict=True)):
            assert draft.observation.score == decision.drafts[0].score
            assert draft.observation.scores[:-1] == tuple(d.kept_score for d in trace.decisions[:t])
            prefix_correct = t == 0 or labels.kept[t - 1]
            assert draft.state == (2 if not prefix_correct else 0 if labels.drafts[t][0] else 1)


def test_labelled_resamples_are_in_the_state_of_the_best_scored_draft() -> None:
    seen = 0
    for trace in record(RandomSteps(0.7, resamples=2, uses_scores=True), 40):
        labels = label_by_rule(rule)(trace)
        assert labels is not None
        for found in labelled_resamples(trace, labels, ENDS):
            t = len(found.observation.tokens) - 1
            scores = found.observation.draft_scores[t]
            assert len(scores) == found.observation.drafts > 1
            if t == 0 or labels.kept[t - 1]:
                assert (found.state == 0) is labels.drafts[t][scores.index(max(scores))]
                seen += 1
    assert seen > 20


def test_unscored_traces_have_no_labels_by_the_shortcut() -> None:
    (trace,) = record(AlwaysStrong(), 1)
    assert label_by_prm(replace(trace, policy="random", correct=None)) is None
    assert label_by_prm(trace) is None


def test_the_shortcut_finds_first_wrong_steps() -> None:
    """With a PRM that is never on the wrong side most blamed steps are the first wrong ones."""
    traces = record(RANDOM, 600, prm=1.0)
    thresholds = [replace(trace, policy="threshold") for trace in traces[:50]]
    fitted = fit([*traces, *thresholds], label_by_prm, ENDS)
    assert fitted.skipped == 50
    assert fitted.strong_accuracy_if_wrong is None
    assert fitted.weak_accuracy.value == pytest.approx(WEAK, abs=0.05)
    assert fitted.strong_accuracy.value == pytest.approx(STRONG, abs=0.05)


def test_the_shortcut_blames_a_low_score_or_else_the_lowest() -> None:
    trace = next(t for t in record(RANDOM, 50) if len(t.steps) == 4 and not t.correct)

    def labels(*scores: float) -> tuple[bool, ...]:
        decisions = tuple(replace(d, kept_score=s) for d, s in zip(trace.decisions, scores, strict=True))
        found = label_by_prm(replace(trace, decisions=decisions))
        assert found is not None
        return found.kept

    assert labels(0.9, 0.34, 0.1, 0.9) == (True, False, False, False)
    assert labels(0.9, 0.8, 0.5, 0.6) == (True, True, False, False)
    assert label_by_prm(replace(trace, correct=None)) is None
    right = label_by_prm(replace(trace, correct=True))
    assert right is not None
    assert right.kept == (True,) * 4


def test_points_of_a_labelled_solution() -> None:
    points = labelled_points((0.9, 0.4, 0.8, 0.2), 1)
    assert points == {"CORRECT": [(1.0, 0.9)], "RECOVERABLE": [(0.9, 0.4)], "LOST": [(0.4, 0.8), (0.4, 0.2)]}
    assert len(labelled_points((0.9, 0.4), -1)["CORRECT"]) == 2
