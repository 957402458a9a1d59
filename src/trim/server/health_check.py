"""Health checks: whether a backend works, by the smallest real call: one token of an answer, or the score of one step.

A models list would not do: servers whose engine hangs still send theirs. A backend in this process, or a class of the
user's own, says itself whether it is there (`Backend.probe`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from trim.backends.base import innermost, score_steps
from trim.backends.client import ServerBackend
from trim.backends.silence import Silence
from trim.errors import BackendError, BackendRefused, RateLimited
from trim.protocols import Backend, Judge, StepGenerator
from trim.routing.step_reader import RoleFailed, StepReader
from trim.routing.usage import Ledger
from trim.types import Question, Role, Step, StepOptions

FRESH = 1.0
"""Seconds for which what a check has found, or an answer has shown, is not asked again."""

_QUESTION = Question("What is 1 + 1?")
_STEP = Step("1 + 1 = 2\n\n", Role.WEAK, 8)
_LEAST, _MOST = 1.0, 5.0  # seconds for a call that is to take no longer than it usually does
_DENIED = (401, 403, 404)  # refusals of every request, not of this one


class HealthCheck:
    """Checks one backend; at most one call at a time, however many wait for what it finds.

    Args:
        backend: as it was opened, without what wraps it for requests.
        call: makes a smallest call of it, see `writing` and `judging`.
        ended: is told what each call has used, and whether the backend works.
        silence: what is heard of it.
    """

    def __init__(
        self,
        backend: Backend,
        call: Callable[[Ledger], Awaitable[None]],
        ended: Callable[[Ledger, bool], None],
        silence: Silence,
    ) -> None:
        self._backend = backend
        self._smallest = call
        self._tell = ended
        self._silence = silence
        self._running: asyncio.Task[str | None] | None = None
        self._began = 0.0
        self._found: str | None = None
        self._ended = float("-inf")

    @property
    def is_call(self) -> bool:
        """Whether a check is a call as for a request, so that its success says that requests work."""
        return isinstance(innermost(self._backend), ServerBackend)

    async def problem(self, seconds: float) -> str | None:
        """Why the backend does not work; None: it does. What was found or heard just now is not asked again.

        Args:
            seconds: after which a call counts as unanswered. It stays open: the server may have to load its model.
        """
        now = self._silence.clock()
        if self.is_call and self._silence.heard_ago < FRESH and not self._silence.timeouts:
            return None
        if self._running is None:
            if now - self._ended < FRESH:
                return self._found
            self._begin(now)
        return await self._result(seconds - (now - self._began))

    async def works(self) -> bool:
        """Whether a call made now is answered, within the time in which the server usually answers. A call that takes
        longer stays open, as the only one beside a new one: the server may be loading its model.
        """
        quick = asyncio.create_task(self._call())
        if self._running is None:
            self._begin(self._silence.clock(), quick)
        waiting: set[asyncio.Task[str | None]] = {quick}
        if self._running is not None:
            waiting.add(self._running)
        limit = self._silence.quick_limit(_LEAST, _MOST)
        try:
            done, _ = await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if quick is not self._running:
                quick.cancel()
        return any(task.result() is None for task in done if not task.cancelled())

    def close(self) -> None:
        """Cancel a call that is open."""
        if self._running is not None:
            self._running.cancel()

    def _begin(self, now: float, task: asyncio.Task[str | None] | None = None) -> None:
        self._began = now
        self._running = task or asyncio.create_task(self._call())
        self._running.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[str | None]) -> None:
        self._running, self._ended = None, self._silence.clock()
        self._found = "the check was cancelled" if task.cancelled() else task.result()

    async def _result(self, seconds: float) -> str | None:
        running = self._running
        assert running is not None
        done, _ = await asyncio.wait({running}, timeout=max(0.0, seconds))
        if not done:
            return f"{self._backend.identity}: no answer within {self._silence.clock() - self._began:.0f} s"
        return self._found

    async def _call(self) -> str | None:
        """What is wrong. It ends by itself, within the time that any request gets."""
        ledger, found = Ledger(), "it was cancelled"
        try:
            found = await self._tried(ledger)
        finally:
            self._tell(ledger, not found)
        return found or None

    async def _tried(self, ledger: Ledger) -> str:
        """What is wrong; empty: nothing."""
        try:
            if not self.is_call:
                return await self._probe()
            await self._smallest(ledger)
        except (BackendError, RoleFailed) as failure:
            error = failure.error if isinstance(failure, RoleFailed) else failure
            refused = isinstance(error, BackendRefused) and error.status not in _DENIED  # this request, not all
            return "" if refused or isinstance(error, RateLimited) else str(error)
        except Exception as error:  # a class of the user's own
            return f"{self._backend.identity}: {type(error).__name__}: {error}"
        return ""

    async def _probe(self) -> str:
        async with asyncio.timeout(_MOST):
            found = await self._backend.probe(quick=True)
        return "" if found.reachable else found.problem or f"{self._backend.identity} cannot be reached"


def writing(model: StepGenerator, role: Role) -> Callable[[Ledger], Awaitable[None]]:
    """Has a model write one token."""

    async def write(ledger: Ledger) -> None:
        reader = StepReader(model, role, _QUESTION, (), StepOptions(limit=1, max_tokens=1))
        try:
            await reader.next(ledger)
        finally:
            await reader.close(ledger)

    return write


def judging(judge: Judge) -> Callable[[Ledger], Awaitable[None]]:
    """Has a judge score one step."""

    async def score(ledger: Ledger) -> None:
        ledger.usage[Role.PRM].calls += 1
        ledger.score(await score_steps(judge, _QUESTION, (_STEP,)))

    return score


def silence_of(backend: Backend, otherwise: float) -> Silence:
    """What is heard of a backend: by its server, or, for others, by the steps and scores that come; `otherwise` is
    their limit in seconds.
    """
    inner = innermost(backend)
    return inner.server.silence if isinstance(inner, ServerBackend) else Silence(otherwise, otherwise)
