"""Circuit breakers: when a circuit opens and closes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.server.gateway import STRONG, WEAK, Failing, ask, serving, simulated, with_roles
from trim.backends.base import BaseBackend
from trim.backends.silence import Silence
from trim.config.settings import ServeSettings
from trim.errors import BackendTimeout, BackendUnavailable, BadResponse, InputTooLong
from trim.server.circuit_breaker import CircuitBreaker
from trim.server.prometheus import Metrics
from trim.server.tracing import Tracing
from trim.types import Question, Role


def test_a_circuit_opens_and_closes_again() -> None:
    strong = Failing(STRONG, BackendUnavailable("strong model", "is gone"))
    with serving(simulated(strong=strong, breaker_failures=2, breaker_cooldown=1.0)) as served:
        body = ask("hard 7", model="trim-strong")
        answers = [served.post(body) for _ in range(6)]
        assert {answer.status_code for answer in answers} == {503}
        assert strong.calls == 2  # then nobody asked any more
        assert "circuit open after 2 failures" in answers[-1].json()["error"]["message"]
        assert 'trim_backend_circuit_open{role="strong"} 1.0' in served.get("/metrics").text
        time.sleep(1.1)
        assert served.post(body).status_code == 503  # the trial call failed too
        assert strong.calls == 3
        assert "circuit open after 3" in served.post(body).json()["error"]["message"]
        time.sleep(1.1)
        strong.error = None
        assert served.post(body).status_code == 200
        assert served.post(ask("hard 7", model="trim-weak")).status_code == 200
        assert 'trim_backend_circuit_open{role="strong"} 0.0' in served.get("/metrics").text


def test_a_wrong_request_opens_no_circuit() -> None:
    weak = Failing(WEAK, InputTooLong("weak model", "too long"))
    with serving(simulated(weak, breaker_failures=2)) as served:
        assert [served.post(ask()).status_code for _ in range(4)] == [400] * 4


def test_the_judge_may_fail_too() -> None:
    class Broken(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Any:
            raise BadResponse("process reward model", "2 scores for 3 steps")

    with serving(simulated(prm=Broken())) as served:
        assert served.post(ask()).status_code == 502
        assert served.post(ask(model="trim-weak")).status_code == 200
    with serving(with_roles(simulated(prm=Broken()), prm={"on_error": "weak"})) as served:
        (fallback,) = served.post(ask()).json()["trim"]["fallbacks"]
        assert fallback["role"] == Role.PRM


class _Check:
    """A health check whose findings are written down; the last one stays."""

    def __init__(self, *works: bool) -> None:
        self.is_call = True
        self.calls = 0
        self._works = [*works]

    async def works(self) -> bool:
        self.calls += 1
        return self._works.pop(0) if len(self._works) > 1 else self._works[0]

    def close(self) -> None: ...


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _breaker(check: _Check, silence: Silence, failures: int = 2) -> CircuitBreaker:
    settings = ServeSettings(breaker_failures=failures, breaker_cooldown=0.05)
    made: Any = check
    return CircuitBreaker(Role.WEAK, "m", settings, Metrics(), Tracing(), silence=silence, check=made)


def _state(breaker: CircuitBreaker) -> str:
    """Which may have changed since it was last looked at."""
    return breaker.state


async def _leave(breaker: CircuitBreaker, silence: Silence, clock: _Clock, seconds: float, *, heard: bool) -> None:
    """A call that is cancelled after so many seconds."""

    async def call() -> None:
        with breaker.call():
            request = silence.request(0)
            try:
                await asyncio.Event().wait()
            finally:
                request.end()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    clock.now += seconds
    if heard:
        silence.heard()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_calls_that_are_left_without_a_word_are_failures() -> None:
    async def run() -> None:
        clock = _Clock()
        silence = Silence(10.0, 10.0, clock)
        breaker = _breaker(_Check(True), silence)
        for _ in range(5):
            await _leave(breaker, silence, clock, 60.0, heard=True)
        assert breaker.failures == 0  # it was flowing
        for _ in range(3):
            await _leave(breaker, silence, clock, 3.0, heard=False)
        assert breaker.failures == 0  # 9 s in all
        await _leave(breaker, silence, clock, 3.0, heard=False)
        assert (breaker.failures, breaker.state) == (1, "closed")
        await _leave(breaker, silence, clock, 0.1, heard=False)
        assert breaker.state == "open"
        with pytest.raises(BackendUnavailable, match="circuit open after 2 failures"), breaker.call():
            pass
        assert "nobody waits any longer" in (breaker.problem or "")
        breaker.close()

    asyncio.run(run())


def test_a_request_that_is_tried_again_after_silence_has_failed_each_time() -> None:
    async def run() -> None:
        silence = Silence(10.0, 10.0)
        breaker = _breaker(_Check(False), silence, failures=3)
        for _ in range(3):
            silence.request(0).failed(BackendTimeout("m", "no answer"))
        assert breaker.state == "open"
        with pytest.raises(BackendUnavailable), breaker.call():
            pass
        breaker.close()

    asyncio.run(run())


def test_health_checks_close_the_circuit_and_no_request_is_the_trial() -> None:
    async def run() -> None:
        check, silence = _Check(False, False, True), Silence(10.0, 10.0)
        breaker = _breaker(check, silence)
        for _ in range(2):
            with pytest.raises(BadResponse), breaker.call():
                raise BadResponse("m", "no")
        assert _state(breaker) == "open"
        while _state(breaker) != "closed":
            if check.calls < 3:
                with pytest.raises(BackendUnavailable), breaker.call():
                    pass
            await asyncio.sleep(0.01)
        assert check.calls == 3
        with breaker.call():
            pass
        await asyncio.sleep(0.1)
        assert check.calls == 3  # none while it is closed
        breaker.close()

    asyncio.run(run())


def test_a_backend_of_ones_own_that_says_nothing_is_noticed_by_its_steps() -> None:
    async def run() -> None:
        clock, check = _Clock(), _Check(True)
        check.is_call = False
        silence = Silence(10.0, 10.0, clock)
        breaker = _breaker(check, silence)
        for _ in range(2):

            async def call() -> None:
                with breaker.call():
                    await asyncio.Event().wait()

            task = asyncio.create_task(call())
            await asyncio.sleep(0)
            clock.now += 11.0
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert _state(breaker) == "open"
        clock.now += 1.0
        assert _state(breaker) == "half-open"
        with breaker.call():
            assert _state(breaker) == "open"  # for all others
        assert _state(breaker) == "closed"

    asyncio.run(run())
