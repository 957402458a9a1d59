"""Budgets and limits are hard."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.money import dollars
from tests.routing.models import (
    PRM,
    STRONG,
    WEAK,
    check_accounts,
    run,
)
from trim.errors import ConfigError
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Policy
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.types import (
    Budget,
    Price,
    Prices,
    Role,
    StopReason,
)

CAPPED = [
    Threshold(0.9),
    Threshold(0.9, max_revisions=1),
    AlwaysStrong(),
    RandomSteps(0.7),
    RandomSteps(0.7, max_revisions=1),
]


@given(st.integers(0, 400), st.integers(0, 1000), st.sampled_from(CAPPED))
@settings(deadline=None, max_examples=60)
def test_the_strong_token_cap_is_hard(cap: int, seed: int, policy: Policy) -> None:
    router = Router(WEAK, STRONG, PRM, policy, budget=Budget(max_strong_tokens=cap))
    trace = run(router, "capped", seed)
    assert trace.usage[Role.STRONG].completion_tokens <= cap
    assert trace.stop_reason is StopReason.FINAL_ANSWER
    check_accounts(trace)


def test_a_cost_cap_needs_every_price() -> None:
    prices = Prices(weak=Price(0, 1.0), strong=Price(0, 100.0))
    with pytest.raises(ConfigError, match=r"\[prm.prices\] prompt is not set"):
        Router(WEAK, STRONG, PRM, RandomSteps(0.9), prices=prices, budget=Budget(max_cost=1.0))


def test_the_cost_cap_stops_strong_calls() -> None:
    prices = Prices(weak=Price(0, 1.0), strong=Price(0, 100.0), prm=Price(0))
    free = run(Router(WEAK, STRONG, PRM, RandomSteps(0.9), prices=prices), "long question 7")
    assert free.cost is not None
    capped = run(
        Router(WEAK, STRONG, PRM, RandomSteps(0.9), prices=prices, budget=Budget(max_cost=free.cost / 3)),
        "long question 7",
    )
    assert capped.cost is not None
    assert capped.cost <= free.cost / 3 + dollars(prices.of(capped.usage)) - dollars(
        prices.strong.of(capped.usage[Role.STRONG])
    )
    assert any(d.forced for d in capped.decisions)


def test_overruled_decisions_are_forced() -> None:
    trace = run(Router(WEAK, STRONG, PRM, RandomSteps(0.99), budget=Budget(max_strong_tokens=0)))
    assert all(d.forced for d in trace.decisions if d.step.role is Role.WEAK)
    assert {d.step.role for d in trace.decisions} == {Role.WEAK}


@pytest.mark.parametrize("policy", [AlwaysWeak(), AlwaysStrong(), RandomSteps(0.5)], ids=lambda policy: policy.name)
@pytest.mark.parametrize("lookahead", [0, 1, 3])
@given(most=st.integers(1, 400))
@settings(max_examples=20, deadline=None)
def test_a_solution_has_no_more_tokens_than_it_may(policy: Policy, lookahead: int, most: int) -> None:
    limits = Limits(lookahead=lookahead, max_tokens=most)
    free, capped = run(Router(WEAK, STRONG, PRM, policy)), run(Router(WEAK, STRONG, PRM, policy, limits=limits))
    written = sum(step.tokens for step in free.steps)
    assert sum(step.tokens for step in capped.steps) == min(most, written)
    if written < most:
        assert capped.stop_reason is free.stop_reason
    if written > most:
        assert capped.stop_reason in (StopReason.MAX_TOKENS, StopReason.FINAL_ANSWER)


@pytest.mark.parametrize("wrong", [{"max_steps": 0}, {"max_drafts": 0}, {"lookahead": -1}, {"max_tokens": 0}])
def test_limits_that_allow_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be at least"):
        Limits(**wrong)
