"""The weak model's drafts, read ahead and judged while the next are written. Nothing here decides what is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from trim import plugins
from trim.errors import BackendError, BadResponse
from trim.protocols import Judge, StepGenerator
from trim.routing.step_reader import RoleFailed, StepReader
from trim.routing.usage import Ledger
from trim.steps import StepFormat
from trim.types import Finish, Question, Role, Step, StepOptions


@dataclass(slots=True)
class Drafted:
    """A finished draft that waits for its score or decision."""

    step: Step
    score: float | None = None


class Drafting:
    """The weak model's drafts past the kept steps, read ahead and scored several at a time."""

    def __init__(
        self,
        weak: StepGenerator,
        prm: Judge | None,
        question: Question,
        *,
        form: StepFormat,
        ledger: Ledger,
        lookahead: int,
        seed: int,
        max_tokens: int | None = None,
    ) -> None:
        self.kept: list[str] = []
        self.scores: list[float] = []  # of the kept steps, as the newest call of the judge gave them
        self.prm = prm
        self.attempt = 0
        self._weak = weak
        self._question = question
        self._form = form
        self._ledger = ledger
        self._lookahead = lookahead
        self._seed = seed
        self._tokens_left = max_tokens  # of the whole solution
        self._queue: list[Drafted] = []  # lookahead + 1 at most
        self._reader: StepReader | None = None
        self._ahead: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._ended = False  # nothing follows the newest draft

    async def head(self) -> Drafted | None:
        """The draft that continues the kept steps, scored if there is a judge; None: the solution ended without one.

        Raises:
            RoleFailed: the weak model or the judge failed.
        """
        if not self._queue:
            await self._await_ahead()
        if not self._queue and not self._ended:
            await self._read()
        if not self._queue:
            return None
        head = self._queue[0]
        if self.prm is not None and head.score is None:
            if self._ahead is None and self._lookahead and not self._ended:
                self._ahead = asyncio.ensure_future(self._read_ahead())
            await self._score(self.prm, self._queue)
        return head

    async def judge(self, step: Step) -> float | None:
        """The score of a text that would continue the kept steps; None without a judge. Not while drafts are open.

        Raises:
            RoleFailed: the judge failed.
        """
        judged = Drafted(step)
        if self.prm is not None:
            await self._score(self.prm, [judged])
        return judged.score

    def keep(self) -> None:
        """The head was kept: it continues the prefix, and what was drafted past it stays valid."""
        head = self._queue.pop(0)
        self.replace(head.step, head.score)
        if self._ahead is not None and self._ahead.done() and self._ahead.exception() is None:
            self._ahead = None

    async def drop(self) -> None:
        """Close the stream and drop every draft, the head included; all their tokens count as discarded."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)
            self._ahead = None
        self._ledger.discard(Role.WEAK, sum(drafted.step.tokens for drafted in self._queue))
        self._queue.clear()
        await self._close_reader()
        self._ended = False

    def replace(self, step: Step, score: float | None = None) -> None:
        """After `drop`: another step (the strong model's, an earlier draft) takes the head's place. A score that is
        not known yet comes with those of the next draft.
        """
        self.kept.append(step.text)
        if score is not None:
            self.scores.append(score)
        self.attempt = 0
        if self._tokens_left is not None:
            self._tokens_left = max(0, self._tokens_left - step.tokens)

    @property
    def tokens_left(self) -> int | None:
        """Completion tokens that the solution may still have past the kept steps; None: no limit."""
        return self._tokens_left

    async def _await_ahead(self) -> None:
        """Wait until the task that reads ahead has a draft, or is done; raise what it raised."""
        while self._ahead is not None and not self._queue:
            if self._ahead.done():
                task, self._ahead = self._ahead, None
                task.result()
            else:
                self._arrived.clear()
                await self._arrived.wait()

    async def _read_ahead(self) -> None:
        try:
            while not self._ended and len(self._queue) <= self._lookahead:
                await self._read()
                self._arrived.set()
        finally:
            self._arrived.set()

    async def _read(self) -> None:
        if self._reader is None:
            prefix = (*self.kept, *(drafted.step.text for drafted in self._queue))
            attempt = 0 if self._queue else self.attempt
            drafted = sum(drafted.step.tokens for drafted in self._queue)
            left = None if self._tokens_left is None else max(0, self._tokens_left - drafted)
            options = StepOptions(None if self._lookahead else 1, left, attempt, self._seed)
            self._reader = StepReader(self._weak, Role.WEAK, self._question, prefix, options)
        step = await self._reader.next(self._ledger, self._form.joiner)
        if step is None:
            self._ended = True
        else:
            self._queue.append(Drafted(step))
            self._ended = step.finish is not Finish.SEPARATOR or self._form.has_answer(step.text)
        if self._ended or self._reader.spent:
            await self._close_reader()

    async def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close(self._ledger)

    async def _score(self, prm: Judge, drafts: Sequence[Drafted]) -> None:
        batch = tuple(drafts)
        steps = (*self.kept, *(drafted.step.text for drafted in batch))
        usage = self._ledger.usage[Role.PRM]
        usage.calls += 1
        started = time.perf_counter()
        try:
            with plugins.running(f"judge {prm.identity}"):
                scores = await prm.score(self._question, steps)
                values = scores.values
            if len(values) != len(steps):
                raise BadResponse("process reward model", f"{len(values)} scores for {len(steps)} steps")
            if not all(0.0 <= value <= 1.0 for value in values):
                raise BadResponse("process reward model", f"scores outside [0, 1]: {values}")
        except BackendError as error:
            raise RoleFailed(Role.PRM, error) from error
        finally:
            self._ledger.busy[Role.PRM] += time.perf_counter() - started
        self._ledger.score(scores)
        self.scores = list(values[: len(self.kept)])
        for drafted, value in zip(batch, values[len(self.kept) :], strict=True):
            drafted.score = value
