"""Fitting on simulated traces, where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.pomdp.fit.recorded import AFTER_RIGHT, AFTER_WRONG, ENDS, HAZARD, STRONG, WEAK, by_rule, off, record, rule
from tests.pomdp.instances import small
from trim.errors import TraceError
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.pomdp import PomdpModel, ResampleModel, filter_belief
from trim.pomdp.fit.estimation import _PAST_WEIGHTS, PomdpFit, _bins, _likeliest, fit
from trim.pomdp.fit.labels import LabelledDraft, label_by_prm, label_by_rule
from trim.types import Action, Observation, Question, Trace

RANDOM = RandomSteps(0.5, uses_scores=True)


def distances(fitted: PomdpFit) -> list[float]:
    return [
        off(fitted.weak_accuracy, WEAK),
        off(fitted.strong_accuracy, STRONG),
        off(fitted.strong_accuracy_if_correct, AFTER_RIGHT),
        off(fitted.strong_accuracy_if_wrong, AFTER_WRONG),
        *(off(counted, truth) for counted, truth in zip(fitted.hazard[:-1], HAZARD, strict=False)),
    ]


@pytest.fixture(scope="module")
def random_traces() -> list[Trace]:
    return record(RANDOM, 600)


def test_random_steps_recover_the_truth(random_traces: list[Trace]) -> None:
    fitted = by_rule(random_traces)
    found = distances(fitted)
    assert max(found) < 1.5
    assert sum(distance > 1 for distance in found) <= 2  # of ten 95% intervals, two of which move together
    model = fitted.model
    assert model.strong_accuracy_if_correct == pytest.approx(
        fitted.strong_accuracy_if_correct and fitted.strong_accuracy_if_correct.value
    )
    assert model.step_tokens == 40
    assert len(model.hazard) == len(HAZARD)
    assert model.hazard == pytest.approx(HAZARD, abs=0.06)
    assert model.hazard[-1] == pytest.approx(1, abs=0.05)
    assert fitted.questions == fitted.traces == 600


def test_scores_are_sorted_by_state(random_traces: list[Trace]) -> None:
    """The simulated PRM puts right steps above 0.5 nine times in ten, wrong ones below, and looks at nothing else."""
    fitted = by_rule(random_traces)
    for state, share in (("CORRECT", 0.9), ("RECOVERABLE", 0.1), ("LOST", 0.1)):
        scores = fitted.points[state][:, 1]
        assert np.mean(scores > 0.5) == pytest.approx(share, abs=0.05)
        assert fitted.scores[state].count == len(scores)
    minimum = fitted.points["LOST"][:, 0]
    assert np.mean(minimum < 0.5) > 0.85
    assert fitted.points["CORRECT"][:, 0].max() == 1.0


def test_which_drafts_a_threshold_replaced_does_not_bias() -> None:
    """Wrong drafts are replaced nine times as often as correct ones; p_s is still that of any step."""
    found = distances(by_rule(record(Threshold(0.5), 600)))
    assert max(found) < 1.5
    assert sum(distance > 1 for distance in found) <= 2


def test_the_two_ends_have_no_repair() -> None:
    traces = [*record(AlwaysWeak(uses_scores=True), 200), *record(AlwaysStrong(), 200)]
    fitted = by_rule(traces)
    assert fitted.strong_accuracy_if_wrong is None
    assert fitted.model.repair_accuracy is None
    assert max(off(fitted.weak_accuracy, WEAK), off(fitted.strong_accuracy, STRONG)) < 1.5
    assert fitted.questions == 200


def test_hazard_counts_the_draft_after_a_step() -> None:
    """Solutions of three steps: the draft after step 0 is never the final one, the draft after step 1 always."""
    traces = [trace for trace in record(RANDOM, 1200) if len(trace.steps) == 3]
    fitted = by_rule(traces)
    assert [estimate.value for estimate in fitted.hazard] == [0.0, 1.0]
    assert fitted.hazard[0].count == len(traces)


def test_too_few_data_are_refused_with_numbers() -> None:
    with pytest.raises(TraceError, match=r"too few data from 20 questions: .*first wrong.*30 needed.*more questions"):
        by_rule(record(RANDOM, 20))
    with pytest.raises(TraceError, match=r"0 scores of correct steps.*--score"):
        by_rule(record(RandomSteps(0.5), 200))
    with pytest.raises(TraceError, match=r"200 traces have no labels"):
        fit(record(Threshold(0.5), 200), label_by_prm, ENDS)
    with pytest.raises(TraceError, match="too few data from 0 questions"):
        by_rule([])


def test_scores_are_binned_as_finely_as_they_tell_states_apart() -> None:
    """Nearly all right steps score above 0.99, wrong ones anywhere below: wide kernels blur that edge."""
    rng = np.random.default_rng(0)
    points, groups = {}, {}
    for state, scores in (
        ("CORRECT", 1 - 0.01 * rng.random(3_000) ** 2),
        ("RECOVERABLE", 0.99 * rng.random(600)),
        ("LOST", np.where(rng.random(900) < 0.8, 1 - 0.01 * rng.random(900) ** 2, 0.99 * rng.random(900))),
    ):
        points[state] = np.stack([np.ones_like(scores), scores], axis=1)
        groups[state] = [f"{state} {n // 3}" for n in range(len(scores))]
    chosen, blurred = (_bins(points, groups, reaches) for reaches in ((8, 4, 2), (8,)))
    right, wrong, _ = chosen.score_likelihood(1.0, 0.993)
    assert right > 20 * wrong
    right, wrong, _ = blurred.score_likelihood(1.0, 0.993)
    assert right < 20 * wrong


def test_a_threshold_with_resamples_does_not_bias_what_first_drafts_say() -> None:
    fitted = by_rule(record(Threshold(0.5, resamples=2), 600))
    assert off(fitted.weak_accuracy, WEAK) < 1.5
    assert fitted.resamples is not None
    assert off(fitted.resamples.accuracy_if_wrong, WEAK) < 1.5


def test_strong_steps_in_place_of_drafts_are_told_apart(random_traces: list[Trace]) -> None:
    """Simulated strong steps are never the draft's text; the simulated PRM judges all texts alike."""
    model = by_rule(random_traces).model
    assert model.agreement is not None
    assert max(model.agreement[:2]) < 0.01  # a pseudo-count: nothing is ruled out
    assert model.repair_observation is not None
    right, wrong, _ = model.repair_observation.mass[:, 0]
    low = model.repair_observation.score_edges[1:] <= 0.5
    assert right[low].sum() < 0.25 < 0.75 < wrong[low].sum()


def test_the_final_step_has_an_accuracy_of_its_own(random_traces: list[Trace]) -> None:
    """Where the last step only repeats the result it is never the first wrong one."""

    def easy_end(question: Question, steps: Sequence[str]) -> tuple[bool, ...]:
        found = rule(question, steps)
        return (*found[:-1], all(found[:-1])) if ENDS(steps[-1]) else found

    fitted = fit([trace for trace in random_traces if len(trace.steps) > 1], label_by_rule(easy_end), ENDS)
    assert fitted.final_accuracy is not None
    assert fitted.final_accuracy.value == 1.0
    assert 0.99 < (fitted.model.final_accuracy or 0.0) < 1.0  # a first wrong one is not ruled out
    assert off(fitted.weak_accuracy, WEAK) < 1.5
    alike = by_rule(random_traces)
    assert off(alike.final_accuracy, WEAK) < 1.5


@pytest.mark.parametrize("truth", [1.0, 0.7])
def test_what_past_scores_count_for_is_found(truth: float) -> None:
    """States drawn from the filter that weighs them so."""
    rng = np.random.default_rng(3)
    world = PomdpModel(0.9, 0.95, (0.1, 1.0), small().observation, 10)
    drafts = []
    for scores in rng.random((4_000, 5)):
        seen = Observation(tuple(scores), (10,) * 5, (Action.CONTINUE,) * 4)
        drafts.append(LabelledDraft(seen, rng.choice(3, p=filter_belief(replace(world, past_weight=truth), seen))))
    candidates = [replace(world, past_weight=weight) for weight in _PAST_WEIGHTS]
    assert _likeliest(candidates, drafts).past_weight == pytest.approx(truth, abs=0.1)
    assert _likeliest(candidates, drafts[:100]).past_weight == 1.0  # too few to say


def test_labelled_points_replace_scores() -> None:
    points = {
        state: np.full((60, 2), value) for state, value in (("CORRECT", 0.9), ("RECOVERABLE", 0.2), ("LOST", 0.5))
    }
    fitted = fit(record(RandomSteps(0.5), 200), label_by_rule(rule), ENDS, points=points)
    assert fitted.scores["RECOVERABLE"].value == pytest.approx(0.2)


def test_a_repetition_counts_for_nothing_where_it_is_no_evidence() -> None:
    model = ResampleModel((0.9, 0.3, 0.6), 0.9, 0.2, after_differing=ResampleModel((0.5, 0.1, 0.2), 0.1, 0.1))
    world = replace(small(), resample_model=model)
    truth = replace(world, resample_model=model.with_repeat_weight(0.0))
    rng = np.random.default_rng(5)
    drafts = []
    for first, second, same in rng.random((1_000, 3)):
        scores = (first, first if same < 0.5 else second)
        seen = Observation((scores[1],), (10,), drafts=2, draft_scores=(scores,))
        drafts.append(LabelledDraft(seen, rng.choice(3, p=filter_belief(truth, seen))))
    candidates = [replace(world, resample_model=model.with_repeat_weight(weight)) for weight in (1.0, 0.5, 0.0)]
    assert _likeliest(candidates, drafts).resample_model == truth.resample_model
