"""Take-over: from the first rejected draft on the strong model writes everything."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.baselines.step_level.take_over import TakeOver
from trim.errors import ConfigError
from trim.policies import Threshold
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.types import Action, Observation, Question, Role


@given(st.floats(0, 1), st.floats(0, 1))
def test_it_rejects_what_the_threshold_rejects(k: float, score: float) -> None:
    seen = Observation((score,), (20,))
    rejects = Threshold(k).act(seen) is Action.REGENERATE
    assert (TakeOver(k).act(seen) is Action.TAKE_OVER) == rejects


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="take-over"):
        TakeOver(-0.1)


def test_it_never_returns_to_the_weak_model() -> None:
    weak, strong = SimulatedModel(Role.WEAK, 0.6), SimulatedModel(Role.STRONG, 0.9)
    router = Router(weak, strong, SimulatedPrm(0.95), TakeOver(0.5))
    taken = 0
    for index in range(10):
        trace = asyncio.run(router.route(Question(f"question {index}", id=str(index))))
        roles = [step.role for step in trace.steps]
        first = roles.index(Role.STRONG) if Role.STRONG in roles else len(roles)
        taken += first < len(roles)
        assert all(role is Role.STRONG for role in roles[first:])
    assert taken
