"""Every token is counted once, also when a stream is closed early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.backends.scripted import ScriptedGenerator, chunk
from tests.routing.models import PRM, STRONG, WEAK, run
from trim.backends.capabilities import Capabilities
from trim.backends.response_stream import Answer
from trim.policies import Threshold
from trim.protocols import LateCounts
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.routing.usage import Ledger
from trim.simulation import SimulatedPrm
from trim.types import Decision, Price, Prices, Question, Role, Scores, Step, Usage


def test_cost_counts_every_token() -> None:
    prices = Prices(weak=Price(0, 1.0), strong=Price(0, 20.0), prm=Price(2.0))
    trace = run(Router(WEAK, STRONG, PRM, Threshold(0.6), prices=prices), "total cost")
    usage = trace.usage
    assert trace.cost is not None
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
    wrong = ledger.read(Step("a", Role.WEAK, count, prompt_tokens=count, cached_tokens=count))
    clipped = ledger.read(Step("b", Role.STRONG, 4, prompt_tokens=9, cached_tokens=50))
    assert wrong == Step("a", Role.WEAK, 0, estimated=True)
    assert clipped == Step("b", Role.STRONG, 4, prompt_tokens=9, cached_tokens=9, estimated=True)
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


def test_a_cost_without_a_price_is_not_known_and_0_is_a_price() -> None:
    used, nothing = Usage(prompt_tokens=3, cached_tokens=1, completion_tokens=2), Usage()
    for price in (Price(), Price(1.0), Price(completion=1.0), Price(completion=1.0, cached=1.0)):
        assert price.of(used) is None
        assert price.of(nothing) == 0.0
    assert Price(0, 0).of(used) == 0.0
    assert Price(1.0).of(Usage(prompt_tokens=3)) == pytest.approx(3e-6)
    prices = Prices(weak=Price(1, 1), prm=Price(1))
    assert prices.missing == ("[strong.prices] prompt", "[strong.prices] completion")
    read = Usage(prompt_tokens=3)
    assert prices.of({Role.WEAK: used, Role.STRONG: nothing, Role.PRM: read}) == pytest.approx(8e-6)
    assert prices.of({Role.WEAK: used, Role.STRONG: used, Role.PRM: used}) is None


def test_usage_adds_up() -> None:
    total = Usage(1, 2, 1, 4, 3) + Usage(1, 20, 10, 40, 30, estimated=True)
    assert total == Usage(2, 22, 11, 44, 33, estimated=True)


class Counting(ScriptedGenerator):
    """A server that counts what it writes, a token a chunk, and tells it in every chunk or at the end."""

    def __init__(self, role: Role, able: Capabilities) -> None:
        super().__init__(role, able, [])
        self.read = self.written = self.cut_off = 0

    async def send(self, body: dict[str, Any]) -> Answer:
        self.usage.calls += 1
        return Answer(self.server, self._write(body))

    async def _write(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        draw = Random(f"{body['seed']} {body['prompt']}")
        words = [draw.choice([" some", " words", " of", " a", " step", ".\n\n"]) for _ in range(draw.randint(5, 60))]
        prompt = len(body["prompt"]) // 4
        self.read += prompt
        self.cut_off += 1
        for index, word in enumerate([*words, "#### 7", ""]):
            self.written += 1
            usage = {"prompt_tokens": prompt, "completion_tokens": index + 1}
            yield chunk(word, "" if word else "stop", usage if self.able.running_usage else None)
        self.cut_off -= 1
        yield chunk(usage=usage | {"prompt_tokens_details": {"cached_tokens": prompt // 2}})


@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("running", [True, False])
def test_the_books_have_what_servers_counted_themselves(running: bool, lookahead: int) -> None:
    """Kept, discarded and cut off: exactly where they count as they go, else nearly."""
    able = Capabilities(stream=True, running_usage=running)
    weak, strong, total = Counting(Role.WEAK, able), Counting(Role.STRONG, able), Ledger()
    router = Router(weak, strong, SimulatedPrm(0.7), Threshold(0.6), limits=Limits(lookahead=lookahead, max_steps=12))

    async def solve(index: int) -> None:
        ledger = Ledger()
        async with aclosing(router.stream(Question(f"question {index}"), ledger=ledger)) as items:
            async for item in items:
                if index % 3 == 0 and isinstance(item, Decision):
                    break  # the client leaves
        for role in Role:
            total.usage[role] += ledger.usage[role]

    async def solve_all() -> None:
        for index in range(40):
            await solve(index)

    asyncio.run(solve_all())
    for model in (weak, strong):
        used = total.usage[model.role]
        assert model.cut_off > 0
        assert replace(used, discarded_tokens=0) == model.usage
        assert used.estimated is not running
        if running:
            assert (used.prompt_tokens, used.completion_tokens) == (model.read, model.written)
        else:
            assert used.completion_tokens == pytest.approx(model.written, rel=0.25)
            assert used.prompt_tokens == pytest.approx(model.read, rel=0.25)
