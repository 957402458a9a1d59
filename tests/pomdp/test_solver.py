"""The solution against whole trees, closed forms and itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.published_instance import published
from tests.pomdp.instances import beliefs, brute_force, models, needs_calibration, small
from trim.errors import ConfigError
from trim.pomdp import PomdpModel, solve
from trim.types import Action

SIMPLEX = np.array([(c, r, 1 - c - r) for c in np.linspace(0, 1, 11) for r in np.linspace(0, 1 - c, 11)]).clip(0)
prices = st.floats(0.0, 0.1)


@pytest.mark.parametrize("repair", [None, 0.8])
@pytest.mark.parametrize("price", [0.0, 0.01, 0.03, 0.2])
def test_three_steps_against_the_whole_tree(price: float, repair: float | None) -> None:
    model = small(repair=repair)
    solution = solve(model, price, 2001)
    for belief in SIMPLEX[::10]:
        exact = brute_force(model, price, 0, belief, 25)
        lower, upper = solution.bounds(0, belief, 25)
        assert lower - 1e-12 <= exact <= upper + 1e-12
        assert upper - lower < 1e-5
        assert solution.value(0, belief, 25) == upper


@settings(deadline=None, max_examples=40)
@given(models(2), beliefs(), prices, st.floats(0.0, 0.05), st.booleans(), st.booleans())
def test_bounds_hold_for_any_model_on_a_coarse_grid(
    model: PomdpModel,
    belief: tuple[float, float, float],
    price: float,
    draft_cost: float,
    take_over: bool,
    final: bool,
) -> None:
    solution = solve(model, price, 9, take_over=take_over, draft_cost=draft_cost)
    exact = brute_force(model, price, 0, np.array(belief), 7, final=final, take_over=take_over, draft_cost=draft_cost)
    lower, upper = solution.bounds(0, belief, 7, final=final)
    assert lower - 1e-9 <= exact <= upper + 1e-9


@settings(deadline=None, max_examples=60)
@given(models(5), prices)
def test_curves_are_convex_and_never_decrease(model: PomdpModel, price: float) -> None:
    curves = solve(model, price, 65).curves
    assert np.all(np.diff(curves) >= -1e-12)
    assert np.all(np.diff(curves, n=2) >= -1e-12)
    assert np.allclose(curves[:, 0], 0.0)  # what is lost is worth nothing, and nothing is spent on it


@settings(deadline=None, max_examples=60)
@given(models(4), prices, beliefs(), st.floats(0.0, 1.0))
def test_the_gain_grows_with_the_chance_of_repair(
    model: PomdpModel, price: float, belief: tuple[float, float, float], share: float
) -> None:
    correct, recoverable, lost = belief
    better = (correct, recoverable + share * lost, lost - share * lost)
    solution = solve(model, price, 33)
    for final in (False, True):
        assert solution.gain(0, better, final=final) >= solution.gain(0, belief, final=final) - 1e-12


def test_a_final_draft_is_judged_by_the_final_rule() -> None:
    solution = solve(small(), 0.01)
    kept, fixed = SIMPLEX[:, 0], 0.9 * (SIMPLEX[:, 0] + SIMPLEX[:, 1])
    assert np.allclose(solution.gain(1, SIMPLEX, final=True), fixed - kept)
    rewrite = solution.action(1, SIMPLEX, 12.5, final=True) == Action.REGENERATE
    assert np.array_equal(rewrite, fixed - 0.01 * 12.5 > kept)
    assert np.allclose(solution.value(1, SIMPLEX, 12.5, final=True), np.maximum(kept, fixed - 0.125))


def test_one_more_draft_in_closed_form() -> None:
    model = small(hazard=(1.0,))
    right, slip = 0.7 * model.observation.mass[0, 0], 0.3 * model.observation.mass[1, 0]
    k = np.linspace(0, 1, 401)
    chance = np.outer(k, right + slip) + np.outer(1 - k, model.observation.mass[2, 0])
    rewrite = 0.9 * np.outer(k, right + slip) - 0.01 * 10 * chance
    expected = np.maximum(np.outer(k, right), rewrite).sum(axis=1)
    assert np.allclose(solve(model, 0.01).curves[0], expected)


def test_free_strong_steps_are_used_whenever_they_help_and_expensive_ones_never() -> None:
    free, expensive = solve(small(), 0.0), solve(small(), 10.0)
    for final in (False, True):
        helps = free.gain(0, SIMPLEX, final=final) > 0
        assert np.array_equal(free.action(0, SIMPLEX, 30, final=final) == Action.REGENERATE, helps)
        assert helps.any() and not helps.all()
        assert np.all(expensive.action(0, SIMPLEX, 30, final=final) == Action.CONTINUE)


def test_past_the_end_of_the_hazard_the_next_draft_is_final() -> None:
    belief = (0.2, 0.7, 0.1)
    short, long = solve(small((0.2, 0.5)), 0.01), solve(small((0.2, 0.5, 1.0, 1.0)), 0.01)
    for step in (0, 1, 2, 9):
        assert short.value(step, belief, 10) == pytest.approx(float(long.value(step, belief, 10)))


def test_taking_over_pays_only_where_drafts_cost_something() -> None:
    model = small((0.1, 0.1, 0.1, 1.0))
    plain, offered = solve(model, 0.005), solve(model, 0.005, take_over=True)
    assert np.allclose(plain.curves, offered.curves)
    assert not np.any(offered.action(0, SIMPLEX, 10) == Action.TAKE_OVER)
    expensive = solve(model, 0.005, take_over=True, draft_cost=0.05)
    assert np.any(expensive.action(0, SIMPLEX, 10) == Action.TAKE_OVER)
    assert not np.any(expensive.action(0, SIMPLEX, 10, final=True) == Action.TAKE_OVER)
    assert np.all(expensive.curves >= solve(model, 0.005, draft_cost=0.05).curves - 1e-12)


def test_arrays_in_arrays_out() -> None:
    solution = solve(small(), 0.01)
    tokens = np.array([5.0, 50.0, 500.0])[:, None]
    actions, values = np.asarray(solution.action(0, SIMPLEX, tokens)), solution.value(0, SIMPLEX, tokens)
    assert actions.shape == values.shape == (3, len(SIMPLEX))
    assert solution.gain(0, SIMPLEX).shape == (len(SIMPLEX),)
    lower, upper = solution.bounds(0, SIMPLEX, tokens)
    assert np.all(lower <= upper)
    for i, j in ((0, 3), (1, 50), (2, 100)):
        assert solution.action(0, SIMPLEX[j], tokens[i, 0]) is actions[i, j]
        assert solution.value(0, SIMPLEX[j], tokens[i, 0]) == values[i, j]


@pytest.mark.parametrize("belief", [(0.5, 0.5), (0.5, 0.5, 0.5), (1.2, -0.2, 0.0), (float("nan"), 0.5, 0.5), 1.0])
def test_an_invalid_belief_is_refused(belief: object) -> None:
    with pytest.raises(ConfigError, match="CORRECT, RECOVERABLE, LOST"):
        solve(small(), 0.01).value(0, belief, 10)  # type: ignore[arg-type]


def test_wrong_arguments_are_refused() -> None:
    for price, draft_cost in ((-1.0, 0.0), (float("nan"), 0.0), (float("inf"), 0.0), (1.0, -1.0)):
        with pytest.raises(ConfigError, match="price and draft_cost"):
            solve(small(), price, draft_cost=draft_cost)
    with pytest.raises(ConfigError, match="two grid points"):
        solve(small(), 0.01, 1)
    with pytest.raises(ConfigError, match="count from 0"):
        solve(small(), 0.01).value(-1, (1, 0, 0), 10)


@needs_calibration
def test_the_published_instance() -> None:
    belief = (0.3, 0.5, 0.2)
    solution = solve(published(), 0.0025)
    value = solution.value(0, belief, 60)
    assert 0.3694 <= value <= 0.3700
    lower, upper = solution.bounds(0, belief, 60)
    assert lower <= value <= upper
    assert upper - lower <= 0.002
    finer = solve(published(), 0.0025, 1601)
    widest = [float(np.ptp(s.bounds(0, SIMPLEX, 60), axis=0).max()) for s in (solution, finer)]
    assert widest[1] < widest[0] / 3
    assert finer.value(0, belief, 60) <= value
