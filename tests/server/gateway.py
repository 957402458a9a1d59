"""A gateway on a free port, over simulated models or those of a test."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from tests.backends.fake_server import listening
from trim.backends.base import BaseGenerator, step_stream
from trim.config.factory import Backends
from trim.config.settings import Config, ServeSettings
from trim.server.app import create_app
from trim.server.gateway import Gateway
from trim.server.http_1_0 import VersionedProtocol
from trim.server.trace_recorder import Redact
from trim.server.usage_store import UsageTotals
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.types import Question, Role, Sampling, Step, StepOptions

SPOKEN: dict[str, Any] = {"expose_upstream_errors": True}
WEAK, STRONG, PRM = SimulatedModel(Role.WEAK, 0.8), SimulatedModel(Role.STRONG, 0.97), SimulatedPrm(0.9)


@dataclass(frozen=True)
class Sampled(SimulatedModel):
    """A simulated model whose steps state the sampling that was requested."""

    sampling: Sampling | None = None

    def sampled(self, sampling: Sampling) -> Sampled:
        return replace(self, sampling=sampling)

    def write(self, *args: Any, **kwargs: Any) -> Any:
        step = super().write(*args, **kwargs)
        told = self.sampling
        return step if told is None else replace(step, text=f"t={told.temperature:g} p={told.top_p:g} {step.text}")


@dataclass
class Failing(BaseGenerator):
    """A generator that fails while it is told to."""

    model: Any
    error: Exception | None = None
    after: int = 0  # steps
    calls: int = 0
    open: int = 0
    closed: list[float] = field(default_factory=list)

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        self.calls += 1
        self.open += 1
        count = 0
        try:
            async for step in self.model.steps(question, kept, options):
                if self.error is not None and count == self.after:
                    raise self.error
                count += 1
                yield step
        finally:
            self.open -= 1
            self.closed.append(time.monotonic())


def with_roles(backends: Backends, **roles: Any) -> Backends:
    """The same with other settings of a role."""
    config = backends.config
    changed = {role: replace(getattr(config, role), **values) for role, values in roles.items()}
    return replace(backends, config=replace(config, **changed))


@dataclass
class Served:
    """A running gateway."""

    url: str
    gateway: Gateway
    client: httpx.Client

    def post(self, body: Any = None, path: str = "/v1/chat/completions", **options: Any) -> httpx.Response:
        """`POST` a body."""
        kind = {"content": body} if isinstance(body, bytes) else {"json": body}
        headers = {"content-type": "application/json"} | dict(options.pop("headers", {}))
        return self.client.post(self.url + path, headers=headers, **kind, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(self.url + path, **options)

    def spent(self, requests: int) -> UsageTotals:
        """The usage, once so many requests are settled and none is in progress."""
        limit = time.monotonic() + 5
        while (spent := self.gateway.usage.totals(0)).requests < requests or self.gateway.admission.running:
            assert time.monotonic() < limit, f"{spent.requests} requests are settled, not {requests}"
            time.sleep(0.01)
        self.get("/healthz")  # answered after the step of the loop that settles the last request
        return spent


def ask(text: str = "q", **fields: Any) -> dict[str, Any]:
    """A request's body."""
    return {"model": "trim", "messages": [{"role": "user", "content": text}]} | fields


def simulated(weak: Any = WEAK, strong: Any = STRONG, prm: Any = PRM, **settings: Any) -> Backends:
    """Simulated models under these `[serve]` settings; failures are told in their own words."""
    return Backends(replace(Config(), serve=ServeSettings(**SPOKEN | settings)), weak, strong, prm)


@contextmanager
def serving(
    backends: Backends | Callable[[], AbstractAsyncContextManager[Gateway]],
    redact: Redact | None = None,
    clock: Callable[[], float] | None = None,
    http: Any = VersionedProtocol,
) -> Iterator[Served]:
    """A gateway in a thread of its own."""
    made: list[Gateway] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[Gateway]:
        if not isinstance(backends, Backends):
            async with backends() as gateway:
                made.append(gateway)
                yield gateway
            return
        gateway = Gateway(backends, redact, clock)
        made.append(gateway)
        yield gateway
        gateway.close()

    limits = httpx.Limits(max_keepalive_connections=0)
    with listening(create_app(opened), grace=5, http=http) as url, httpx.Client(timeout=30, limits=limits) as client:
        yield Served(url, made[0], client)
