"""Health checks: what they find, how often they call, and that nobody waits for them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial

import httpx
import pytest

from tests.backends.fake_server import Habits
from tests.backends.fake_server import serving as fake_serving
from tests.server.gateway import Served, ask, serving
from trim.backends.base import BaseBackend
from trim.backends.silence import Silence
from trim.config.settings import Config, ModelSettings, PriceSettings, PrmSettings, ServeSettings
from trim.errors import BackendRefused, BackendUnavailable, QuotaExhausted, RateLimited
from trim.protocols import Probe
from trim.routing.usage import Ledger
from trim.server.gateway import open_gateway
from trim.server.health_check import FRESH, HealthCheck
from trim.types import Role

LIMIT = 0.5


class Backend(BaseBackend):
    identity = "b"

    async def probe(self, *, quick: bool = False) -> Probe:
        return Probe("b", problem="b is gone")


class Real(HealthCheck):
    is_call = True


def _check(*results: Exception | float | None) -> tuple[HealthCheck, list[bool], Silence]:
    """A check of a backend whose calls raise, take so many seconds, or succeed."""
    left, told, silence = [*results], list[bool](), Silence(60.0, 60.0)

    async def call(ledger: Ledger) -> None:
        result = left.pop(0)
        if isinstance(result, Exception):
            raise result
        await asyncio.sleep(result or 0)

    return Real(Backend(), call, lambda ledger, works: told.append(works), silence), told, silence


@pytest.mark.parametrize(
    ("error", "works"),
    [
        (None, True),
        (RateLimited("b", "slow down"), True),
        (BackendRefused("b", "max_tokens is too small", status=400), True),
        (BackendRefused("b", "wrong key", status=401), False),
        (BackendUnavailable("b", "answered 503"), False),
        (QuotaExhausted("b", "no credit"), False),
        (ValueError("no"), False),
    ],
)
def test_what_an_error_says_of_a_backend(error: Exception | None, works: bool) -> None:
    check, told, _ = _check(error)
    problem = asyncio.run(check.problem(1.0))
    assert (problem is None) == works
    assert told == [works]
    assert works or str(error) in (problem or "")


def test_a_thousand_callers_make_one_call() -> None:
    async def run() -> None:
        check, told, silence = _check(0.02, BackendUnavailable("b", "answered 503"))
        assert set(await asyncio.gather(*(check.problem(1.0) for _ in range(1000)))) == {None}
        assert await check.problem(1.0) is None  # known for a second
        assert told == [True]
        silence.clock = lambda: time.monotonic() + FRESH
        assert "answered 503" in (await check.problem(1.0) or "")
        assert told == [True, False]

    asyncio.run(run())


def test_an_answer_that_was_heard_just_now_is_a_check() -> None:
    check, told, silence = _check()
    silence.heard()
    assert asyncio.run(check.problem(1.0)) is None
    assert told == []


def test_nobody_waits_for_long_and_the_call_goes_on() -> None:
    async def run() -> None:
        check, told, _ = _check(0.3)
        began = time.monotonic()
        assert "b: no answer within" in (await check.problem(0.05) or "")
        assert "b: no answer within" in (await check.problem(0.05) or "")
        assert time.monotonic() - began < 0.25
        caller = asyncio.create_task(check.problem(5.0))
        await asyncio.sleep(0.01)
        caller.cancel()  # ends no call that others wait for
        await asyncio.gather(caller, return_exceptions=True)
        assert await check.problem(5.0) is None
        assert told == [True]

    asyncio.run(run())


def test_a_call_that_was_lost_keeps_no_other_from_trying() -> None:
    async def run() -> None:
        check, told, silence = _check(3600.0, 3600.0, None)
        silence.measure(0.01, 0)
        silence.quick_limit = lambda least, most: 0.02  # type: ignore[method-assign]
        assert not await check.works()
        assert not await check.works()  # the first one is still open beside it
        assert await check.works()
        check.close()
        await asyncio.sleep(0.01)
        assert told == [False, True, False]

    asyncio.run(run())


def test_a_class_of_ones_own_says_itself_whether_it_is_there() -> None:
    async def call(ledger: Ledger) -> None:
        raise AssertionError

    check = HealthCheck(Backend(), call, lambda ledger, works: None, Silence(1.0, 1.0))
    assert asyncio.run(check.problem(1.0)) == "b is gone"


def test_a_resolver_that_hangs_for_one_server_answers_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, found = threading.Event(), socket.getaddrinfo

    def lookup(host: str, *args: object, **kwargs: object) -> object:
        if host == "hangs.invalid":
            answer.wait(20)
            raise socket.gaierror("no such host")
        return found(host, *args, **kwargs)  # type: ignore[arg-type]

    async def run() -> None:
        async with open_gateway(Config()):
            loop = asyncio.get_running_loop()
            hung = [asyncio.ensure_future(loop.getaddrinfo("hangs.invalid", 80)) for _ in range(50)]
            await asyncio.sleep(0)
            async with asyncio.timeout(10):
                assert await loop.getaddrinfo("localhost", 80)
            answer.set()
            await asyncio.gather(*hung, return_exceptions=True)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    asyncio.run(run())


# A gateway -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Habits]]:
    with ExitStack() as stack:
        yield {role: stack.enter_context(fake_serving()) for role in ("weak", "strong", "prm")}


@pytest.fixture(scope="module")
def served(servers: dict[str, Habits]) -> Iterator[Served]:
    prices = PriceSettings(1.0, 1.0)
    weak, strong = (
        ModelSettings(
            backend="vllm", base_url=f"{servers[role].url}/v1", model="m", timeout=LIMIT, retries=0, prices=prices
        )
        for role in ("weak", "strong")
    )
    prm = PrmSettings(
        backend="vllm", base_url=servers["prm"].url, model="m", timeout=LIMIT, retries=0, prices=PriceSettings(1.0)
    )
    settings = ServeSettings(breaker_failures=2, breaker_cooldown=0.05, expose_upstream_errors=True)
    with serving(lambda: open_gateway(Config(weak, strong, prm, serve=settings))) as running:
        running.post(ask())  # what is learnt of the servers is learnt
        yield running


MODELS = {"weak": "trim-weak", "strong": "trim-strong", "prm": "trim"}


def _state(served: Served, role: str) -> str:
    return served.gateway.breakers[Role(role)].state


def _closed(served: Served, role: str, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while _state(served, role) != "closed":
        assert time.monotonic() < limit, f"the circuit is {_state(served, role)}"
        time.sleep(0.01)


def _rested(served: Served) -> None:
    """What was found and heard is old."""
    for breaker in served.gateway.breakers.values():
        breaker.silence.clock = partial(_later, breaker.silence.clock)


def _later(clock: Callable[[], float]) -> float:
    return clock() + 2


def test_readiness_is_one_small_call_of_each_role(served: Served, servers: dict[str, Habits]) -> None:
    _rested(served)
    before = {role: len(habits.requests) for role, habits in servers.items()}
    spent = served.gateway.usage.totals(0)
    for _ in range(5):
        assert served.get("/readyz").json() == {"ready": True, "backends": dict.fromkeys(servers, "ok")}
    for role, habits in servers.items():
        (asked,) = habits.requests[before[role] :]
        assert role == "prm" or asked["max_tokens"] == 1
    after = served.gateway.usage.totals(0)
    assert after.cost > spent.cost  # what the calls cost is in the spend, under no client's name,
    assert after.requests == spent.requests  # and none is a request


@pytest.mark.parametrize("role", ["weak", "strong", "prm"])
def test_a_backend_that_hangs_is_out_until_it_answers_again(
    served: Served, servers: dict[str, Habits], role: str
) -> None:
    """Whoever is first waits for the limit, nobody after them does, and a second after it works so does the gateway."""
    habits, body = servers[role], ask(model=MODELS[role])
    habits.hang = 3600.0
    answers = [served.post(body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [504, 504]
    assert "no answer within 0.5 s" in answers[0].json()["error"]["message"]
    began = time.monotonic()
    assert served.post(body).status_code == 503
    assert time.monotonic() - began < LIMIT
    ready = served.get("/readyz")
    assert ready.status_code == 503
    assert "circuit open after 2 failures" in ready.json()["backends"][role]
    assert "no answer within 0.5 s" in ready.json()["backends"][role]
    assert served.get("/healthz").status_code == 200
    metrics = served.get("/metrics").text
    assert f'trim_backend_circuit_state{{role="{role}",state="closed"}} 0.0' in metrics
    habits.hang = 0.0  # the requests that it has are lost
    _closed(served, role, 3.0)
    assert served.post(body).status_code == 200
    assert f'trim_backend_circuit_state{{role="{role}",state="closed"}} 1.0' in served.get("/metrics").text
    served.spent(0)
    limit = time.monotonic() + 2
    while served.gateway.usage.reserved():
        assert time.monotonic() < limit, "a reservation is still open"
        time.sleep(0.01)


def test_clients_that_leave_open_the_circuit_too(served: Served, servers: dict[str, Habits]) -> None:
    silence = served.gateway.breakers[Role.WEAK].silence
    silence.first = 1.0  # longer than clients wait
    servers["weak"].hang = 3600.0
    url, body = f"{served.url}/v1/chat/completions", ask(model="trim-weak")
    try:
        for _ in range(20):
            with suppress(httpx.ReadTimeout):
                assert httpx.post(url, json=body, timeout=0.2).status_code == 503
                break
        else:
            pytest.fail("the circuit is still closed")
    finally:
        servers["weak"].hang, silence.first = 0.0, LIMIT
    _closed(served, "weak", 3.0)


def test_what_a_cancelled_answer_has_written_is_counted(served: Served, servers: dict[str, Habits]) -> None:
    """Whether it was to be sent at once or as a stream: the server is always asked for a stream."""
    servers["weak"].delay = 0.08
    try:
        for stream in (False, True):
            before = served.gateway.usage.totals(0)
            with pytest.raises(httpx.ReadTimeout):
                body = ask(model="trim-weak", stream=stream)
                with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=body, timeout=0.5) as answer:
                    time.sleep(0.4)
                    answer.read()
                    raise httpx.ReadTimeout("left")
            spent = served.spent(before.requests + 1)
            prompt = 1e-6 * 40  # dollars, about
            assert spent.cost > before.cost + 1e-6
            assert spent.cost < before.cost + 2 * prompt
    finally:
        servers["weak"].delay = 0.0
