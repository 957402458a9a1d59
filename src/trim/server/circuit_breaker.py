"""A circuit breaker in front of every backend: a backend that is down is not called again by every request.

After some failures in a row the circuit is open: calls fail at once, and `on_error` may turn that into a fallback.
After the cooldown one call is let through (half-open); it decides whether the circuit closes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from trim.backends.base import WrappedBackend, score_steps
from trim.config.factory import Backends
from trim.config.settings import ServeSettings
from trim.errors import BackendError, BackendRefused, BackendUnavailable, QuotaExhausted, RateLimited
from trim.protocols import Judge, LateCounts, StepGenerator, StepStream
from trim.server.prometheus import Metrics
from trim.server.tracing import SpanAttributes, Tracing
from trim.types import Question, Role, Sampling, Scores, Step, StepOptions


class CircuitBreaker:
    """Counts the failures of a backend and opens its circuit.

    Args:
        role: of the backend.
        model: its name, for spans.
        settings: `breaker_failures` in a row open the circuit (0: never); a call is let through after
        `breaker_cooldown` seconds.
        metrics: count calls and failures.
        tracing: opens a span around each call.
    """

    def __init__(self, role: Role, model: str, settings: ServeSettings, metrics: Metrics, tracing: Tracing) -> None:
        self.role = role
        self._model = model
        self._max_failures = settings.breaker_failures
        self._cooldown = settings.breaker_cooldown
        self._metrics = metrics
        self._tracing = tracing
        self._failures = 0
        self._open_until = 0.0
        self._probing = False

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """Closed: calls go through. Open: they fail at once. Half-open: the next call decides."""
        if not self._max_failures or self._failures < self._max_failures:
            return "closed"
        return "open" if time.monotonic() < self._open_until or self._probing else "half-open"

    @contextmanager
    def call(self) -> Iterator[SpanAttributes]:
        """Wraps a call of the backend and counts how it ends.

        Raises:
            BackendUnavailable: the circuit is open.
        """
        state = self.state
        if state == "open":
            left = max(0.0, self._open_until - time.monotonic())
            reason = f"circuit open after {self._failures} failures in a row"
            hint = f"the next try is in {left:.0f} s"
            raise BackendUnavailable(f"{self.role.value} backend", reason, hint, retry_after=left)
        probing = state == "half-open"
        self._probing = self._probing or probing
        started = time.monotonic()
        try:
            with self._tracing.call(self.role, self._model) as span:
                yield span
        except BackendError as error:
            self.record_failure(error)
            raise
        except StopAsyncIteration:
            self._failures = 0
            raise
        else:
            self._failures = 0
            self._metrics.call_succeeded(self.role, time.monotonic() - started)
        finally:
            if probing:
                self._probing = False

    def record_failure(self, error: BackendError) -> None:
        """Count a failure."""
        if isinstance(error, BackendRefused):  # the backend works; the request is at fault
            self._failures = 0
        elif not isinstance(error, RateLimited | QuotaExhausted):  # these say themselves when to come back
            self._failures += 1
            self._open_until = time.monotonic() + self._cooldown
        self._metrics.call_failed(self.role, error)


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
