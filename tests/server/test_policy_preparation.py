"""Policies are prepared off the event loop, once for all waiting requests, by priority, and within bounds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from tests.server.gateway import ask, serving, simulated
from trim.policies import Threshold
from trim.policies.pomdp import PomdpPolicy
from trim.protocols import Policy
from trim.server import policy_preparation
from trim.server.api_error import ApiError
from trim.server.policy_preparation import PolicyPreparation, Priority
from trim.types import Action, Observation


@dataclass
class Log:
    """Which policies were prepared, by their parameters."""

    prepared: list[float] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Slow(Policy):
    """A policy that takes a while to prepare."""

    price: float
    log: Log = field(compare=False)
    seconds: float = 0.02

    @property
    def name(self) -> str:
        return "slow"

    @property
    def parameter(self) -> float:
        return self.price

    def prepare(self) -> None:
        time.sleep(self.seconds)
        if self.price < 0:
            raise ValueError("a negative price")
        self.log.prepared.append(self.price)
        self.log.threads.add(threading.current_thread().name)

    def act(self, observation: Observation) -> Action:
        return Action.CONTINUE


@pytest.fixture
def preparation() -> Iterator[PolicyPreparation]:
    made = PolicyPreparation(lambda seconds: None)
    yield made
    made.close()


def test_the_event_loop_is_not_blocked(preparation: PolicyPreparation) -> None:
    log = Log()

    async def scenario() -> int:
        ready = asyncio.create_task(preparation.ready(Slow(1.0, log, 0.3)))
        ticks = 0
        while not ready.done():
            await asyncio.sleep(0.005)
            ticks += 1
        return ticks

    assert asyncio.run(scenario()) > 10
    assert log.threads == {"policy-preparation_0"}


def test_a_policy_is_prepared_once_for_all_requests(preparation: PolicyPreparation) -> None:
    log = Log()
    policy = Slow(1.0, log)

    async def scenario() -> None:
        await asyncio.gather(*(preparation.ready(policy) for _ in range(20)))
        later = preparation.shared(Slow(1.0, log))
        assert later is policy
        await preparation.ready(later)

    asyncio.run(scenario())
    assert log.prepared == [1.0]


def test_the_most_needed_policy_is_prepared_first(preparation: PolicyPreparation) -> None:
    log = Log()

    async def scenario() -> None:
        waiting = [asyncio.create_task(preparation.ready(Slow(1.0, log)))]
        await asyncio.sleep(0.005)  # it is being prepared
        preparation.ahead([Slow(2.0, log)])
        waiting += [asyncio.create_task(preparation.ready(Slow(price, log))) for price in (3.0, 4.0)]
        waiting += [asyncio.create_task(preparation.ready(Slow(5.0, log), Priority.TARGET))]
        await asyncio.gather(*waiting)
        await preparation.ready(preparation.shared(Slow(2.0, log)))

    asyncio.run(scenario())
    assert log.prepared == [1.0, 5.0, 3.0, 4.0, 2.0]


def test_preparation_for_a_disconnected_client_is_dropped(preparation: PolicyPreparation) -> None:
    log = Log()

    async def scenario() -> None:
        first = asyncio.create_task(preparation.ready(Slow(1.0, log)))
        left = [asyncio.create_task(preparation.ready(Slow(price, log))) for price in (2.0, 3.0)]
        await asyncio.sleep(0.005)
        for task in left:
            task.cancel()
        await first
        await preparation.ready(Slow(4.0, log))

    asyncio.run(scenario())
    assert log.prepared == [1.0, 4.0]


def test_a_controller_that_moved_on_needs_other_prices(preparation: PolicyPreparation) -> None:
    log = Log()

    async def scenario() -> None:
        first = asyncio.create_task(preparation.ready(Slow(1.0, log)))
        await asyncio.sleep(0.005)
        preparation.ahead([Slow(2.0, log), Slow(3.0, log)])
        preparation.ahead([Slow(3.0, log), Slow(4.0, log)])
        await first
        await asyncio.sleep(0.2)

    asyncio.run(scenario())
    assert log.prepared == [1.0, 3.0, 4.0]


def test_how_many_wait_and_are_kept_is_bounded(preparation: PolicyPreparation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_preparation, "_MAX_WAITING", 4)
    monkeypatch.setattr(policy_preparation, "_MAX_PREPARED", 2)
    log = Log()

    async def scenario() -> list[object]:
        many = [preparation.ready(Slow(float(price), log)) for price in range(1, 8)]
        found = await asyncio.gather(*many, return_exceptions=True)
        await preparation.ready(Slow(9.0, log), Priority.TARGET)
        return list(found)

    found = asyncio.run(scenario())
    assert found[:4] == [None] * 4
    assert [isinstance(error, ApiError) and error.status for error in found[4:]] == [429] * 3
    kept = [price for price in range(10) if preparation.shared(other := Slow(float(price), log)) is not other]
    assert kept == [4, 9]


def test_a_failure_reaches_all_waiting_requests_and_is_not_cached(preparation: PolicyPreparation) -> None:
    log = Log()

    async def scenario() -> list[object]:
        bad = Slow(-1.0, log)
        preparation.ahead([Slow(-2.0, log)])
        found = await asyncio.gather(*(preparation.ready(bad) for _ in range(3)), return_exceptions=True)
        await preparation.ready(Slow(1.0, log))
        return list(found)

    assert [type(error) for error in asyncio.run(scenario())] == [ValueError] * 3
    assert log.prepared == [1.0]


def test_policies_without_preparation_do_not_wait(preparation: PolicyPreparation) -> None:
    async def scenario() -> None:
        slow = asyncio.create_task(preparation.ready(Slow(1.0, Log(), 0.2)))
        await asyncio.sleep(0.005)
        started = time.monotonic()
        await preparation.ready(Threshold(0.3))
        assert time.monotonic() - started < 0.1
        await slow

    asyncio.run(scenario())


def test_the_gateway_solves_in_the_thread_and_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[tuple[float, str]] = []
    prepare = PomdpPolicy.prepare

    def logged(self: PomdpPolicy) -> None:
        fresh = "solution" not in vars(self)
        prepare(self)
        if fresh:
            solved.append((self.price, threading.current_thread().name))

    monkeypatch.setattr(PomdpPolicy, "prepare", logged)
    backends = simulated()
    backends = replace(backends, config=replace(backends.config, policy=replace(backends.config.policy, name="pomdp")))
    with serving(backends) as served:
        for _ in range(3):
            assert served.post(ask(trim={"price": 0.00123})).status_code == 200
        assert solved == [(0.00123, "policy-preparation_0")]
        assert served.post(ask(model="trim-pomdp-20%")).status_code == 200
        served.spent(4)
        limit = time.monotonic() + 5
        while len(solved) < 6 and time.monotonic() < limit:  # prices next to the one that was used
            time.sleep(0.01)
        assert len(solved) >= 6
        assert {thread for _, thread in solved} == {"policy-preparation_0"}
        assert "trim_policy_preparation_duration_seconds_count" in served.get("/metrics").text
