"""Every token is counted once, also when a stream is closed early."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.routing.models import (
    PRM,
    STRONG,
    WEAK,
    run,
)
from trim.policies import Threshold
from trim.protocols import LateCounts
from trim.routing.router import Router
from trim.routing.usage import Ledger
from trim.types import (
    Price,
    Prices,
    Question,
    Role,
    Scores,
    Step,
    Usage,
)


def test_cost_counts_every_token() -> None:
    prices = Prices(weak=Price(0, 1.0), strong=Price(0, 20.0), prm=Price(2.0))
    trace = run(Router(WEAK, STRONG, PRM, Threshold(0.6), prices=prices), "total cost")
    usage = trace.usage
    assert trace.cost * 1e6 == pytest.approx(
        usage[Role.WEAK].completion_tokens
        + 20 * usage[Role.STRONG].completion_tokens
        + 2 * usage[Role.PRM].prompt_tokens
    )


def test_usage_is_complete_when_a_stream_is_closed_early() -> None:
    async def leave() -> Ledger:
        ledger, slow = Ledger(), replace(WEAK, token_seconds=0.001)
        stream = Router(slow, STRONG, PRM, Threshold(1e-6)).stream(Question("q"), ledger=ledger)
        await anext(stream)
        await asyncio.sleep(0.01)  # the next step is under way
        await stream.aclose()
        return ledger

    usage = asyncio.run(leave()).usage[Role.WEAK]
    assert usage.calls == 1
    assert usage.completion_tokens > 40
    assert usage.completion_tokens == 40 + usage.discarded_tokens


def test_what_a_stream_tells_late_is_added_to_its_steps() -> None:
    ledger = Ledger()
    ledger.read(Step("a", Role.WEAK, 12, prompt_tokens=10, estimated=True))
    ledger.read(Step("b", Role.WEAK, 8, estimated=True))
    ledger.discard(Role.WEAK, 20)
    ledger.correct(Role.WEAK, LateCounts(prompt=5, cached=13, completion=-3))
    assert ledger.usage[Role.WEAK] == Usage(0, 15, 13, 17, 17)
    ledger.correct(Role.WEAK, LateCounts(prompt=-5, estimated=True))
    assert ledger.usage[Role.WEAK] == Usage(0, 10, 10, 17, 17, estimated=True)


@pytest.mark.parametrize("count", [float("nan"), float("inf"), -3, True, "many", None, [4], 10**30])
def test_only_counts_are_charged(count: Any) -> None:
    """Whatever a model or judge of somebody's own returns."""
    ledger = Ledger()
    ledger.read(Step("a", Role.WEAK, count, prompt_tokens=count, cached_tokens=count))
    ledger.read(Step("b", Role.STRONG, 4, prompt_tokens=9, cached_tokens=50))
    ledger.score(Scores((0.5,), count))
    assert ledger.usage[Role.WEAK] == Usage(estimated=True)
    assert ledger.usage[Role.STRONG] == Usage(0, 9, 9, 4, estimated=True)
    assert ledger.usage[Role.PRM] == Usage(estimated=True)


def test_a_cost_is_never_negative() -> None:
    assert Price(2.0, 1.0, 0.5).of(Usage(prompt_tokens=10, cached_tokens=50)) == pytest.approx(10 * 0.5 / 1e6)
    assert Price(2.0, 1.0).of(Usage(completion_tokens=-4)) == 0.0
    for wrong in (-1.0, float("nan"), float("inf")):
        for name in ("prompt", "completion", "cached"):
            with pytest.raises(ValueError, match="a price must be a number from 0"):
                Price(**{name: wrong})


def test_usage_adds_up() -> None:
    total = Usage(1, 2, 1, 4, 3) + Usage(1, 20, 10, 40, 30, estimated=True)
    assert total == Usage(2, 22, 11, 44, 33, estimated=True)
