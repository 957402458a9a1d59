"""A circuit breaker in front of every backend: what is down is not asked again and again by every request.

After some failures in a row a backend is out: it fails at once, for `on_error` to turn into a way on. When its cooldown
is over, one call is let through; it decides whether the backend is back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from trim.backends.base import WrappedBackend
from trim.config.factory import Backends
from trim.config.settings import ServeSettings
from trim.errors import BackendError, BackendRefused, BackendUnavailable
from trim.protocols import Judge, PendingPrompt, StepGenerator, StepStream
from trim.server.prometheus import Metrics
from trim.server.tracing import Spans
from trim.types import Question, Role, Sampling, Scores, Step, StepOptions


class Breaker:
    """Counts a backend's failures.

    Args:
        role: whose failures.
        settings: `failures` in a row take it out (0: never), after `cooldown` seconds it is tried again.
        metrics: told about calls and failures.
        spans: around each call.
    """

    def __init__(self, role: Role, settings: ServeSettings, metrics: Metrics, spans: Spans) -> None:
        self.role = role
        self._most = settings.breaker_failures
        self._cooldown = settings.breaker_cooldown
        self._metrics = metrics
        self._spans = spans
        self._failed = 0
        self._until = 0.0
        self._trying = False

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """Closed: all is well. Half-open: the next call decides."""
        if not self._most or self._failed < self._most:
            return "closed"
        return "open" if time.monotonic() < self._until or self._trying else "half-open"

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Around a call: refuses it while the backend is out, and learns how it ends.

        Raises:
            BackendUnavailable: the backend is out.
        """
        state = self.state
        if state == "open":
            left = max(0.0, self._until - time.monotonic())
            words = f"is out after {self._failed} failures in a row"
            raise BackendUnavailable(f"{self.role.value} backend", words, f"it is tried again in {left:.0f} s")
        trying = state == "half-open"
        self._trying = self._trying or trying
        started = time.monotonic()
        try:
            with self._spans.call(self.role):
                yield
        except BackendError as error:
            self.failed(error)
            raise
        except StopAsyncIteration:
            self._failed = 0
            raise
        else:
            self._failed = 0
            self._metrics.called(self.role, time.monotonic() - started)
        finally:
            if trying:
                self._trying = False

    def failed(self, error: BackendError) -> None:
        """Count a failure."""
        if isinstance(error, BackendRefused):  # it answers; the request is at fault
            self._failed = 0
        else:
            self._failed += 1
            self._until = time.monotonic() + self._cooldown
        self._metrics.failed(self.role, error)


class GuardedGenerator(WrappedBackend):
    """A `StepGenerator` behind a breaker."""

    def __init__(self, model: StepGenerator, breaker: Breaker) -> None:
        super().__init__(model)
        self._breaker = breaker
        self._model = model

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> StepStream:
        """Continue `kept`; see `trim.protocols.StepGenerator`."""
        return _GuardedStream(self._model.steps(question, kept, options), self._breaker)

    def sampled(self, sampling: Sampling) -> StepGenerator:
        """The same model with another sampling, behind the same breaker."""
        return GuardedGenerator(self._model.sampled(sampling), self._breaker)


class _GuardedStream:
    def __init__(self, stream: StepStream, breaker: Breaker) -> None:
        self._stream = stream
        self._breaker = breaker

    def __aiter__(self) -> _GuardedStream:
        return self

    @property
    def pending_tokens(self) -> int:
        """Tokens of the unfinished step."""
        return self._stream.pending_tokens

    @property
    def pending_prompt(self) -> PendingPrompt:
        """Prompt tokens of a request whose first step was not handed over."""
        return self._stream.pending_prompt

    async def __anext__(self) -> Step:
        with self._breaker.watch():
            return await anext(self._stream)

    async def aclose(self) -> None:
        """Cancel the request upstream."""
        await self._stream.aclose()


class GuardedPrm(WrappedBackend):
    """A `Judge` behind a breaker."""

    def __init__(self, prm: Judge, breaker: Breaker) -> None:
        super().__init__(prm)
        self._breaker = breaker
        self._prm = prm

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """Score `steps`; see `trim.protocols.Judge`."""
        with self._breaker.watch():
            return await self._prm.score(question, steps)


class Guards:
    """The breakers of the three backends, as `[serve]` sets them."""

    def __init__(self, settings: ServeSettings, metrics: Metrics, spans: Spans) -> None:
        self.breakers = {role: Breaker(role, settings, metrics, spans) for role in Role}

    def around(self, backends: Backends) -> Backends:
        """The same models, each behind its breaker."""
        weak, strong, prm = (self.breakers[role] for role in (Role.WEAK, Role.STRONG, Role.PRM))
        return replace(
            backends,
            weak=GuardedGenerator(backends.weak, weak),
            strong=GuardedGenerator(backends.strong, strong),
            prm=GuardedPrm(backends.prm, prm),
        )
