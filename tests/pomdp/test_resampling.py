"""Second texts of a step, by either model: the solution against the whole tree, beliefs against enumeration."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pomdp.instances import beliefs, brute_force, outcomes_of_next_text, outcomes_of_regenerate, scores_in, small
from trim.errors import ConfigError
from trim.pomdp import ResampleModel, filter_belief, solve
from trim.types import Action, Observation

share = st.floats(0.0, 1.0)
kinds = st.builds(lambda a, b, c, d, e: ResampleModel((a, b, c), d, e), share, share, share, share, share)
chains = st.builds(replace, kinds, after_identical=st.none() | kinds, after_differing=st.none() | kinds)
AGAIN = ResampleModel((0.6, 0.2, 0.4), 0.9, 0.35)
ASKS = [(0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]  # resamples, revisions: the trees of more take long
STRONG_SCORES = scores_in((0.1, 0.1, 0.2, 0.6), (0.4, 0.3, 0.2, 0.1), (0.3, 0.3, 0.2, 0.2))


@settings(deadline=None, max_examples=40)
@given(chains, chains, beliefs(), st.floats(0.0, 0.05), st.sampled_from(ASKS), st.booleans(), st.booleans())
def test_the_solution_is_that_of_the_whole_tree(
    again: ResampleModel,
    revise: ResampleModel,
    belief: tuple[float, float, float],
    draft_cost: float,
    asks: tuple[int, int],
    take_over: bool,
    final: bool,
) -> None:
    model = replace(
        small((1.0,), repair=0.7), resample_model=again, revise_model=revise, repair_observation=STRONG_SCORES
    )
    model = replace(model, agreement=(0.8, 0.2, 0.6))
    options = {"take_over": take_over, "draft_cost": draft_cost, "resamples": asks[0], "revisions": asks[1]}
    exact = brute_force(model, 0.01, 0, np.array(belief), 10, final=final, **options)  # type: ignore[arg-type]
    found = solve(model, 0.01, **options)._values(0, belief, np.array(10), final=final).max()  # type: ignore[arg-type]
    assert found == pytest.approx(exact, abs=5e-3)  # of the grid


def test_more_resamples_are_worth_more_until_they_cost() -> None:
    model = replace(small(), resample_model=AGAIN)
    values = [float(solve(model, 0.02, resamples=n).curves[0, -1]) for n in range(4)]
    assert values[0] + 0.01 < values[1] < values[2] < values[3]
    costly = [float(solve(model, 0.02, resamples=n, draft_cost=1.0).curves[0, -1]) for n in range(2)]
    assert costly[0] == pytest.approx(costly[1])


def test_a_free_resample_comes_before_the_strong_model_and_a_useless_one_never() -> None:
    model = replace(small(), resample_model=AGAIN)
    doubtful = (0.2, 0.7, 0.1)
    assert solve(model, 0.02, resamples=2).action(0, doubtful, 10) is Action.RESAMPLE
    assert solve(model, 0.02, resamples=2).action(0, doubtful, 10, drafts=3) is not Action.RESAMPLE
    assert solve(model, 0.02, resamples=2, draft_cost=0.5).action(0, doubtful, 10) is not Action.RESAMPLE
    same = replace(model, resample_model=ResampleModel((1.0, 1.0, 1.0), 0.5, 0.5))
    assert solve(same, 0.02, resamples=2, draft_cost=2e-3).action(0, doubtful, 10) is not Action.RESAMPLE


def test_resamples_need_a_model_of_them() -> None:
    with pytest.raises(ConfigError, match="traces with resamples"):
        solve(small(), 0.01, resamples=1)


@settings(deadline=None, max_examples=60)
@given(kinds, st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.2, 0.6, 0.95]))
def test_the_belief_after_a_resample_is_bayes(again: ResampleModel, first: float, second: float) -> None:
    """Scores that lie in other bins than the first: the draft differs. The better-scored one is kept."""
    model = replace(small(), resample_model=again)
    before = np.array(filter_belief(model, Observation((first,), (10,))))
    likelihood = np.array(model.observation.score_likelihood(1.0, second))
    right = (again.accuracy_if_correct, again.accuracy_if_wrong)
    joint = {
        (old, new): before[old]
        * (1 - again.repeat_probability[old])
        * (right[old] if new == 0 else 1 - right[old])
        * likelihood[new]
        for old, new in product((0, 1), repeat=2)
    }
    lost = before[2] * (1 - again.repeat_probability[2]) * likelihood[2]
    kept = 1 if second > first else 0
    total = sum(joint.values()) + lost
    if total < 1e-12:
        return
    expected = [sum(p for pair, p in joint.items() if pair[kept] == state) / total for state in (0, 1)]
    seen = Observation((second,), (10,), drafts=2, draft_scores=((first, second),))
    assert filter_belief(model, seen) == pytest.approx((*expected, lost / total), abs=1e-9)


def test_a_repeated_draft_tells_only_that_it_is_repeated() -> None:
    model = replace(small(), resample_model=AGAIN)
    before = np.array(filter_belief(model, Observation((0.2,), (10,))))
    after = filter_belief(model, Observation((0.2,), (10,), drafts=2, draft_scores=((0.2, 0.2),)))
    expected = before * AGAIN.repeat_probability / (before @ AGAIN.repeat_probability)
    assert after == pytest.approx(tuple(expected))


def test_one_belief_and_many_are_looked_up_alike() -> None:
    solution = solve(replace(small(), resample_model=AGAIN), 0.02, resamples=1)
    many = np.random.default_rng(0).dirichlet((1, 1, 1), 50)
    values = solution.value(1, many, 10)
    assert values == pytest.approx([float(solution.value(1, belief, 10)) for belief in many], abs=1e-12)


def test_outcomes_of_a_resample_add_up() -> None:
    model = replace(small(), resample_model=AGAIN)
    belief = np.array([0.5, 0.3, 0.2])
    for outcomes in (outcomes_of_next_text(AGAIN, model.observation, belief), outcomes_of_regenerate(model, belief)):
        assert sum(chance for chance, _ in outcomes) == pytest.approx(1.0)


# The strong model's own text ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(kinds, st.sampled_from([0.1, 0.4, 0.6, 0.9]), st.sampled_from([0.2, 0.3, 0.7, 0.95]))
def test_the_belief_about_a_revised_strong_text_is_bayes(revise: ResampleModel, first: float, second: float) -> None:
    model = replace(small(repair=0.7), revise_model=revise, repair_observation=STRONG_SCORES, agreement=(0.8, 0.2, 0.6))
    seen = Observation((first,), (10,), draft_scores=((0.35,),), strong_scores=((first,),))
    draft = np.array(filter_belief(model, Observation((0.35,), (10,))))
    outcomes = dict(zip(range(-1, 4), outcomes_of_regenerate(model, draft), strict=True))  # -1: the draft again
    before = filter_belief(model, seen)
    assert before == pytest.approx(tuple(outcomes[int(first * 4)][1]), abs=1e-3)  # no score is quite impossible
    found = filter_belief(model, replace(seen, scores=(second,), strong_scores=((first, second),)))
    joint: dict[tuple[int, int], float] = {}
    for old, chance in enumerate(before):
        right = (revise.accuracy_if_correct, revise.accuracy_if_wrong, 0.0)[old]
        for new, share in ((0, right), (1 if old < 2 else 2, 1 - right)):
            likelihood = STRONG_SCORES.score_likelihood(1.0, second)[new]
            joint[old, new] = chance * (1 - revise.repeat_probability[old]) * share * likelihood
    total = sum(joint.values())
    if total < 1e-12:
        return
    kept = 1 if second > first else 0
    expected = [sum(p for pair, p in joint.items() if pair[kept] == state) / total for state in range(3)]
    assert found == pytest.approx(tuple(expected), abs=1e-9)


def test_a_strong_text_is_revised_where_it_is_doubtful_and_that_pays() -> None:
    model = replace(small(repair=0.7), revise_model=AGAIN, repair_observation=STRONG_SCORES)
    once, twice = solve(model, 0.005), solve(model, 0.005, revisions=1)
    assert once.curves[0, -1] + 0.005 < twice.curves[0, -1]
    assert twice.gain(0, (0.2, 0.7, 0.1)) > once.gain(0, (0.2, 0.7, 0.1))
    doubtful, confident = (0.2, 0.7, 0.1), (0.95, 0.03, 0.02)
    assert twice.action(0, doubtful, 10, strong_texts=1) is Action.REVISE
    assert twice.action(0, confident, 10, strong_texts=1) is Action.CONTINUE
    assert twice.action(0, doubtful, 10, strong_texts=2) is Action.CONTINUE
    thrice = solve(model, 0.005, revisions=2)
    assert twice.curves[0, -1] < thrice.curves[0, -1]
    assert thrice.action(0, doubtful, 10, strong_texts=2, differing=True) is Action.REVISE
    assert once.action(0, doubtful, 10, strong_texts=1) is Action.CONTINUE
    low, high = twice.bounds(0, doubtful, 10)
    assert low <= twice.value(0, doubtful, 10) <= high
    with pytest.raises(ConfigError, match="revised"):
        solve(small(), 0.01, revisions=1)
