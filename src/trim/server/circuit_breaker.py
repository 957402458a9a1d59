"""A circuit breaker in front of every backend: what is down is not asked again and again by every request.

After some failures in a row a backend is out: it fails at once, for `on_error` to turn into a way on. When its cooldown
is over, one call is let through; it decides whether the backend is back.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from trim.config.factory import Backends
from trim.config.settings import ServeSettings
from trim.errors import BackendError, BackendRefused, BackendUnavailable
from trim.protocols import ProcessRewardModel, StepGenerator
from trim.server.prometheus import Metrics
from trim.server.tracing import Spans
from trim.types import Question, Role, Scores, Step, StepOptions


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


class GuardedGenerator:
    """A `StepGenerator` behind a breaker."""

    def __init__(self, model: StepGenerator, breaker: Breaker) -> None:
        self._breaker = breaker
        self._model = model

    def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        """Continue `kept`; see `trim.protocols.StepGenerator`."""
        return _GuardedStream(self._model.steps(question, kept, options), self._breaker)


class _GuardedStream:
    def __init__(self, stream: AsyncIterator[Step], breaker: Breaker) -> None:
        self._stream = stream
        self._breaker = breaker

    def __aiter__(self) -> _GuardedStream:
        return self

    @property
    def pending_tokens(self) -> int:
        """Tokens of the unfinished step, where the stream knows."""
        return int(getattr(self._stream, "pending_tokens", 0))

    @property
    def pending_prompt(self) -> tuple[int, int]:
        """Prompt tokens of a request whose first step was not handed over, where the stream knows."""
        prompt, cached = getattr(self._stream, "pending_prompt", (0, 0))
        return prompt, cached

    async def __anext__(self) -> Step:
        with self._breaker.watch():
            return await anext(self._stream)

    async def aclose(self) -> None:
        """Cancel the request upstream."""
        if (close := getattr(self._stream, "aclose", None)) is not None:
            await close()


class GuardedPrm:
    """A `ProcessRewardModel` behind a breaker."""

    def __init__(self, prm: ProcessRewardModel, breaker: Breaker) -> None:
        self._breaker = breaker
        self._prm = prm

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """Score `steps`; see `trim.protocols.ProcessRewardModel`."""
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
