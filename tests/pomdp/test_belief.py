"""Beliefs against enumeration of everything that may have happened."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pomdp.instances import models, small
from trim.pomdp import ObservationBins, PomdpModel, filter_belief, snapshot_belief
from trim.types import Action, Observation

C, G = Action.CONTINUE, Action.REGENERATE


def enumerated(model: PomdpModel, observation: Observation) -> np.ndarray:
    """P(state | observation) by summing over whether each draft and each strong step was right."""
    weight = np.zeros(3)
    actions, n = observation.actions, len(observation.actions)
    for right in product((True, False), repeat=2 * n + 1):
        drafts, strong = right[: n + 1], right[n + 1 :]
        chance, sound, lowest = 1.0, True, 1.0
        for i in range(n + 1):
            # After a wrong step everything is LOST: let its drafts count as wrong, once.
            if not sound and (drafts[i] or (i < n and strong[i])):
                chance = 0.0
                break
            state = 0 if drafts[i] else (1 if sound else 2)
            accuracy = model.draft_accuracy(final=observation.final and i == n)
            chance *= (accuracy if drafts[i] else 1 - accuracy) if sound else 1.0
            if i == n:
                weight[state] += chance * model.observation.score_likelihood(lowest, observation.score)[state]
                break
            if actions[i] is G:
                for score in observation.draft_scores[i] if i < len(observation.draft_scores) else ():
                    chance *= model.observation.score_likelihood(lowest, score)[state]
                succeeds = (model.strong_accuracy_if_correct, model.strong_accuracy_if_wrong, 0.0)[state]
                chance *= succeeds if strong[i] else 1 - succeeds
                state = 0 if strong[i] else (1 if sound else 2)
            elif strong[i]:
                chance = 0.0  # there was no strong step: count it once
            chance *= model.observation.score_likelihood(lowest, observation.scores[i])[state]
            sound = state == 0
            lowest = min(lowest, observation.scores[i])
    posterior: np.ndarray = weight / weight.sum()
    return posterior


scores = st.lists(st.floats(0, 1), min_size=4, max_size=4).map(tuple)


@settings(deadline=None, max_examples=60)
@given(models(), scores, scores, st.lists(st.sampled_from([C, G]), max_size=3), st.booleans(), st.booleans())
def test_the_filter_is_bayes(
    model: PomdpModel,
    kept: tuple[float, ...],
    drafts: tuple[float, ...],
    actions: list[Action],
    recorded: bool,
    final: bool,
) -> None:
    n = len(actions)
    seen = tuple((d if a is G else k,) for k, d, a in zip(kept, drafts, actions, strict=False)) if recorded else ()
    observation = Observation(kept[: n + 1], (10,) * (n + 1), tuple(actions), final, draft_scores=seen)
    belief = filter_belief(model, observation)
    assert belief == pytest.approx(enumerated(model, observation), abs=1e-9)
    assert sum(belief) == pytest.approx(1.0)


def correlated() -> ObservationBins:
    """Two bins per axis; the min says something about the score in every state."""
    mass = np.array([[[0.02, 0.08], [0.05, 0.85]], [[0.1, 0.1], [0.7, 0.1]], [[0.6, 0.3], [0.06, 0.04]]])
    return ObservationBins(np.array([0, 0.5, 1]), np.array([0, 0.5, 1]), mass)


def test_the_past_counts_once() -> None:
    """A low score long ago is no new evidence at each later step."""
    model = PomdpModel(0.8, 0.95, (0.1,) * 9 + (1.0,), correlated(), 10)
    after = [filter_belief(model, Observation((0.2, *(0.9,) * n), (10,) * (n + 1), (C,) * n)) for n in (1, 2, 3, 6)]
    assert all(a.lost > b.lost for a, b in pairwise(after))


def test_past_scores_count_with_their_weight() -> None:
    """In a model whose scores don't depend on the min before them, by hand."""
    p, likelihood = small().weak_accuracy, small().observation.score_likelihood
    observation = Observation((0.1, 0.5, 0.9), (10,) * 3, (C, C))
    for weight in (0.0, 0.5, 1.0):
        kept = 1.0
        for score in (0.1, 0.5):
            right, wrong, lost = (value**weight for value in likelihood(1.0, score))
            kept *= p * right / (kept * (p * right + (1 - p) * wrong) + (1 - kept) * lost)
        expected = np.array([kept * p, kept * (1 - p), 1 - kept]) * likelihood(1.0, 0.9)
        found = filter_belief(replace(small(), past_weight=weight), observation)
        assert found == pytest.approx(tuple(expected / expected.sum()), abs=1e-9)


def test_a_strong_step_makes_lost_less_likely() -> None:
    low = Observation((0.9, 0.1), (10, 10), (C,))
    kept = filter_belief(small(), Observation((0.9, 0.1, 0.5), (10,) * 3, (C, C)))
    regenerated = filter_belief(small(), Observation((0.9, 0.9, 0.5), (10,) * 3, (C, G), draft_scores=((0.9,), (0.1,))))
    assert filter_belief(small(), low).recoverable > 0.4
    assert regenerated.lost < kept.lost


def test_the_rejected_drafts_score_is_evidence() -> None:
    """Rejected on a good score: nothing was wrong. On a bad one: perhaps the prefix was lost already."""
    scored = {s: Observation((0.5, 0.5, 0.5), (10,) * 3, (C, G), draft_scores=((0.5,), (s,))) for s in (0.1, 0.9)}
    unseen = Observation((0.5, 0.5, 0.5), (10,) * 3, (C, G), draft_scores=((0.5,), ()))
    good, bad, nothing = (filter_belief(small(), o).lost for o in (scored[0.9], scored[0.1], unseen))
    assert good < nothing < bad


def test_a_snapshot_looks_at_the_newest_pair_alone() -> None:
    bins = correlated()
    observation = Observation((0.9, 0.2, 0.9, 0.3), (10,) * 4, (C, G, C))
    expected = bins.mass[:, 0, 0] / bins.mass[:, 0, 0].sum()
    assert snapshot_belief(bins, observation) == pytest.approx(tuple(expected))
    first = snapshot_belief(bins, Observation((0.3,), (10,)))
    assert first == pytest.approx(tuple(bins.mass[:, 1, 0] / bins.mass[:, 1, 0].sum()))


def test_a_pair_that_no_state_allows_is_ignored() -> None:
    mass = np.zeros((3, 2, 2))
    mass[:, 1, 1] = 1.0
    bins = ObservationBins(np.array([0, 0.5, 1]), np.array([0, 0.5, 1]), mass)
    assert snapshot_belief(bins, Observation((0.1, 0.1), (1, 1), (C,))) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert sum(filter_belief(PomdpModel(0.8, 0.9, (1.0,), bins, 10), Observation((0.1, 0.1), (1, 1), (C,)))) == (
        pytest.approx(1.0)
    )


AGREE = (0.85, 0.1, 0.7)


@pytest.mark.parametrize("again", [True, False])
def test_a_strong_step_that_repeats_the_draft_counts_as_agreement(again: bool) -> None:
    """By counting worlds: the draft and the strong step right or wrong, the same text or another."""
    model = replace(small(), agreement=AGREE)
    draft, kept, newest = 0.1, 0.1 if again else 0.5, 0.9
    likelihood = model.observation.score_likelihood
    first = np.array([model.weak_accuracy, 1 - model.weak_accuracy, 0.0]) * likelihood(1.0, draft)
    if again:
        right, wrong = first[0] * AGREE[0], first[1] * AGREE[1]
    else:
        seen = likelihood(1.0, kept)
        right = (
            first[0] * (model.strong_accuracy_if_correct - AGREE[0]) + first[1] * model.strong_accuracy_if_wrong
        ) * seen[0]
        wrong = (
            first[0] * (1 - model.strong_accuracy_if_correct)
            + first[1] * (1 - AGREE[1] - model.strong_accuracy_if_wrong)
        ) * seen[1]
    sound = right / (right + wrong)
    second = np.array([sound * model.weak_accuracy, sound * (1 - model.weak_accuracy), 1 - sound])
    second *= likelihood(min(1.0, kept), newest)
    observation = Observation((kept, newest), (10, 10), (G,), draft_scores=((draft,), (newest,)))
    assert filter_belief(model, observation) == pytest.approx(tuple(second / second.sum()), abs=1e-9)


def test_agreement_outweighs_two_low_scores() -> None:
    """The PRM distrusts a step twice, but both models wrote it."""
    model = PomdpModel(0.7, 0.9, (0.2, 0.5, 1.0), small().observation, 10, 0.7, agreement=(0.9, 0.02, 0.7))
    seen = Observation((0.1, 0.5), (10, 10), (G,), draft_scores=((0.1,), (0.5,)))
    assert filter_belief(model, seen).lost < 0.5 * filter_belief(replace(model, agreement=None), seen).lost


def test_strong_steps_have_scores_of_their_own() -> None:
    """A middling score is evidence against a draft but not against a strong step, whose right ones often score so."""
    model = PomdpModel(0.7, 0.9, (0.2, 0.5, 1.0), small().observation, 10, 0.8, agreement=(0.9, 0.02, 0.7))
    repair = ObservationBins(np.array([0.0, 1.0]), small().observation.score_edges, np.full((3, 1, 3), 1 / 3))
    seen = Observation((0.1, 0.5), (10, 10), (G,), draft_scores=((0.2,), (0.5,)))
    assert filter_belief(replace(model, repair_observation=repair), seen).lost < filter_belief(model, seen).lost


def test_after_a_resample_the_strong_step_may_agree_with_the_best_draft() -> None:
    model = PomdpModel(0.7, 0.9, (0.2, 0.5, 1.0), small().observation, 10, 0.8, agreement=(0.9, 0.02, 0.7))
    once = Observation((0.4, 0.5), (10, 10), (G,), draft_scores=((0.4,), (0.5,)))
    again = replace(once, draft_scores=((0.4, 0.1), (0.5,)))
    assert filter_belief(model, again) == pytest.approx(filter_belief(model, once))
