"""Every token is counted once, also when a stream is closed early."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.routing.models import (
    PRM,
    STRONG,
    WEAK,
    run,
)
from trim.policies import Threshold
from trim.routing.router import Router
from trim.routing.usage import Ledger
from trim.types import (
    Price,
    Prices,
    Question,
    Role,
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
