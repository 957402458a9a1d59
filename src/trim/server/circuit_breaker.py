"""A circuit breaker in front of every backend: a backend that is down or hangs is not called again by every request.

After some failures in a row the circuit is open: calls fail at once, and `on_error` may turn that into a fallback. So
does a backend that lets its callers run out of time: each request that it leaves without a word for too long is a
failure, and each call that is cancelled while it has been silent for that long (see `trim.backends.silence`).

While the circuit is open, a server is tried every `breaker_cooldown` seconds by a health check, and closes the circuit
by answering. Other backends are tried by one call of a request, which is let through (half-open).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from trim.backends.base import WrappedBackend, score_steps
from trim.backends.silence import Silence
from trim.config.factory import Backends
from trim.config.settings import ServeSettings
from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    QuotaExhausted,
    RateLimited,
)
from trim.protocols import Judge, LateCounts, StepGenerator, StepStream
from trim.server.health_check import HealthCheck
from trim.server.prometheus import Metrics
from trim.server.tracing import SpanAttributes, Tracing
from trim.types import Question, Role, Sampling, Scores, Step, StepOptions

State = Literal["closed", "open", "half-open"]
_SHORTEST_PAUSE = 0.05  # seconds between two trials


class CircuitBreaker:
    """Counts the failures of a backend and opens its circuit.

    Args:
        role: of the backend.
        model: its name, for spans.
        settings: `breaker_failures` in a row open the circuit (0: never); the backend is tried every `breaker_cooldown`
            seconds.
        metrics: count calls and failures.
        tracing: opens a span around each call.
        silence: what is heard of the backend.
        check: tries it.
    """

    def __init__(
        self,
        role: Role,
        model: str,
        settings: ServeSettings,
        metrics: Metrics,
        tracing: Tracing,
        *,
        silence: Silence,
        check: HealthCheck,
    ) -> None:
        self.role = role
        self.silence = silence
        self.check = check
        self._model = model
        self._max_failures = settings.breaker_failures
        self._cooldown = settings.breaker_cooldown
        self._metrics = metrics
        self._tracing = tracing
        self._failures = 0
        self._last: BackendError | None = None
        self._open_until = 0.0
        self._probing = False
        self._recovery: asyncio.Task[None] | None = None
        self.opened: Callable[[], object] = lambda: None
        """Called when the circuit of a server has opened here."""

    @property
    def failures(self) -> int:
        """In a row. A request that is tried again after silence has failed more than once."""
        return max(self._failures, self.silence.timeouts)

    @property
    def state(self) -> State:
        """Closed: calls go through. Open: they fail at once. Half-open: a server is being tried, and calls still fail;
        for others the next call decides.
        """
        if not self._max_failures or self.failures < self._max_failures:
            return "closed"
        if self.check.is_call:
            return "half-open" if self._probing else "open"
        return "open" if self.silence.clock() < self._open_until or self._probing else "half-open"

    @property
    def problem(self) -> str | None:
        """Why calls fail at once; None: they do not."""
        if self.state == "closed" or (self.state == "half-open" and not self.check.is_call):
            return None
        last = "" if self._last is None else f"; the last: {self._last}"
        return f"circuit open after {self.failures} failures in a row{last}"

    @contextmanager
    def call(self) -> Iterator[SpanAttributes]:
        """Wraps a call of the backend and counts how it ends.

        Raises:
            BackendUnavailable: the circuit is open.
        """
        if self.problem is not None:
            raise self._refusal()
        probing = self.state == "half-open"
        self._probing = self._probing or probing
        started = self.silence.clock()
        try:
            with self.watch(), self._tracing.call(self.role, self._model) as span:
                yield span
        except StopAsyncIteration:
            self._failures = 0
            raise
        else:
            self._failures = 0
            self._metrics.call_succeeded(self.role, self.silence.clock() - started)
        finally:
            if probing:
                self._probing = False
                self.tell()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Wraps what is waited for, and counts it if that fails, or is cancelled when the backend has been silent for
        too long.
        """
        request = None if self.check.is_call else self.silence.request(0, measured=False)
        try:
            yield
        except BackendError as error:
            self.record_failure(error)
            raise
        except asyncio.CancelledError:
            if self.silence.is_overdue:
                words = f"not a word for {self.silence.waited:.0f} s, so nobody waits any longer"
                self.record_failure(BackendTimeout(f"{self.role.value} backend", words))
            raise
        else:
            if request is not None:
                request.heard()
        finally:
            if request is not None:
                request.end()

    def record_failure(self, error: BackendError) -> None:
        """Count a failure."""
        if isinstance(error, BackendRefused):  # the backend works; the request is at fault
            self._failures = 0
        elif not isinstance(error, RateLimited | QuotaExhausted):  # these say themselves when to come back
            self._failures += 1
            self._last = error
            self._open_until = self.silence.clock() + self._cooldown
            self._try_again()
            self.tell()
        self._metrics.call_failed(self.role, error)

    def tell(self) -> None:
        """Say in the metrics how the backend is."""
        self._metrics.set_circuit(self.role, self.state)
        self._metrics.silence.labels(self.role.value).set(self.silence.waited)

    def close(self) -> None:
        """Stop trying."""
        self.check.close()
        if self._recovery is not None:
            self._recovery.cancel()

    def _refusal(self) -> BackendUnavailable:
        self._try_again()
        left = self._cooldown if self.check.is_call else max(0.0, self._open_until - self.silence.clock())
        reason, hint = f"circuit open after {self.failures} failures in a row", f"the next try is in {left:.0f} s"
        return BackendUnavailable(f"{self.role.value} backend", reason, hint, retry_after=left)

    def _try_again(self) -> None:
        """Have health checks close an open circuit."""
        if self.state != "closed" and self.check.is_call and self._recovery is None:
            self._begin_recovery()
            self.opened()

    def open_as_elsewhere(self) -> None:
        """The circuit of the same server has opened in another process."""
        if self._max_failures and self.state == "closed" and self.check.is_call and self._recovery is None:
            self._failures = self._max_failures
            self._begin_recovery()
            self.tell()

    def _begin_recovery(self) -> None:
        self._recovery = asyncio.create_task(self._recover())
        self._recovery.add_done_callback(self._recovered)

    def _recovered(self, _: asyncio.Task[None]) -> None:
        self._recovery, self._probing = None, False

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(max(self._cooldown, _SHORTEST_PAUSE))
            self._probing = True
            self.tell()
            works = await self.check.works()
            self._probing = False
            if works:
                self._failures = 0
                self.silence.spoke()
            self.tell()
            if works:
                return


class BreakerGenerator(WrappedBackend):
    """A `StepGenerator` behind a circuit breaker."""

    def __init__(self, model: StepGenerator, breaker: CircuitBreaker) -> None:
        super().__init__(model)
        self._breaker = breaker
        self._model = model

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> StepStream:
        """Continue `kept`; see `trim.protocols.StepGenerator`."""
        return _BreakerStream(self._model.steps(question, kept, options), self._breaker)

    def sampled(self, sampling: Sampling) -> StepGenerator:
        """The same model with another sampling, behind the same circuit breaker."""
        return BreakerGenerator(self._model.sampled(sampling), self._breaker)


class _BreakerStream:
    def __init__(self, stream: StepStream, breaker: CircuitBreaker) -> None:
        self._stream = stream
        self._breaker = breaker

    def __aiter__(self) -> _BreakerStream:
        return self

    @property
    def pending_tokens(self) -> int:
        return self._stream.pending_tokens

    @property
    def late_counts(self) -> LateCounts:
        return self._stream.late_counts

    async def __anext__(self) -> Step:
        with self._breaker.call() as span:
            step = await anext(self._stream)
            span.set_tokens(step.prompt_tokens, step.tokens)
            return step

    async def aclose(self) -> None:
        """Cancel the request upstream."""
        await self._stream.aclose()


class BreakerJudge(WrappedBackend):
    """A `Judge` behind a circuit breaker."""

    def __init__(self, judge: Judge, breaker: CircuitBreaker) -> None:
        super().__init__(judge)
        self._breaker = breaker
        self._judge = judge

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """Score `steps`; see `trim.protocols.Judge`."""
        with self._breaker.call() as span:
            scores = await self._judge.score(question, steps)
            span.set_tokens(scores.tokens, scores.completion)
            return scores

    async def score_steps(self, question: Question, steps: tuple[Step, ...]) -> Scores:
        """Score `steps`; see `trim.protocols.StepJudge`."""
        with self._breaker.call() as span:
            scores = await score_steps(self._judge, question, steps)
            span.set_tokens(scores.tokens, scores.completion)
            return scores


def protected(backends: Backends, breakers: Mapping[Role, CircuitBreaker]) -> Backends:
    """The same models, each behind its circuit breaker."""
    return replace(
        backends,
        weak=BreakerGenerator(backends.weak, breakers[Role.WEAK]),
        strong=BreakerGenerator(backends.strong, breakers[Role.STRONG]),
        prm=BreakerJudge(backends.prm, breakers[Role.PRM]),
    )
