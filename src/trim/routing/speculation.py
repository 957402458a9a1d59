"""Reading steps from models for one question: usage, degenerate steps, and drafts judged while the next are written.

The Router owns one `Ledger` and one `Drafting` per question and makes all decisions; nothing here decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from trim.errors import BackendError, BadResponse
from trim.protocols import Judge, StepGenerator, StepStream
from trim.steps import StepFormat, is_degenerate
from trim.types import Finish, Question, Role, Step, StepOptions, Usage


class RoleFailed(Exception):
    """A backend error together with the role that it happened in; the Router turns it into a fallback or raises it."""

    def __init__(self, role: Role, error: BackendError) -> None:
        super().__init__(str(error))
        self.role = role
        self.error = error


@dataclass(slots=True)
class Ledger:
    """Usage and busy seconds of every role for one question."""

    usage: dict[Role, Usage] = field(default_factory=lambda: {role: Usage() for role in Role})
    busy: dict[Role, float] = field(default_factory=lambda: dict.fromkeys(Role, 0.0))

    def read(self, step: Step) -> None:
        """Charge a step that a model has written."""
        usage = self.usage[step.role]
        usage.prompt_tokens += step.prompt_tokens
        usage.cached_tokens += step.cached_tokens
        usage.completion_tokens += step.tokens

    def discard(self, role: Role, tokens: int, unread: int = 0) -> None:
        """Tokens that won't be kept: `tokens` of steps read before, `unread` of a step that was never finished."""
        usage = self.usage[role]
        usage.discarded_tokens += tokens + unread
        usage.completion_tokens += unread


class StepReader:
    """One model continuing `kept`: pulls steps, charges them, asks again after a degenerate one.

    After the step that follows a degenerate one the reader is `spent`: its stream no longer continues the kept text
    step by step, so whoever wants more opens another. It is also spent after `options.limit` steps.
    """

    def __init__(
        self, generator: StepGenerator, role: Role, question: Question, kept: tuple[str, ...], options: StepOptions
    ) -> None:
        self.spent = False
        self._generator = generator
        self._role = role
        self._question = question
        self._kept = kept
        self._options = options
        self._texts: list[str] = []
        self._read = 0  # tokens
        self._stream: StepStream | None = None

    async def next(self, ledger: Ledger, joiner: str) -> Step | None:
        """The next step, or None when the model ended the solution without writing another."""
        started = time.perf_counter()
        try:
            step = await self._pull(ledger)
            if step is not None and is_degenerate(step.text):
                step = await self._again(step, ledger, joiner)
        except BackendError as error:
            raise RoleFailed(self._role, error) from error
        finally:
            ledger.busy[self._role] += time.perf_counter() - started
        if step is not None:
            self._texts.append(step.text)
            self.spent = self.spent or len(self._texts) == self._options.limit
        return step

    async def _pull(self, ledger: Ledger) -> Step | None:
        if self._stream is None:
            self._stream = self._generator.steps(self._question, self._kept, self._options)
            ledger.usage[self._role].calls += 1
        try:
            step = await anext(self._stream)
        except StopAsyncIteration:
            return None
        if step.role is not self._role:
            step = replace(step, role=self._role)
        ledger.read(step)
        self._read += step.tokens
        return step

    async def _again(self, first: Step, ledger: Ledger, joiner: str) -> Step | None:
        """Ask once more with the degenerate text appended (as the paper's runs do); both token counts are charged."""
        if first.finish is not Finish.SEPARATOR:  # an empty end: nothing to keep
            ledger.discard(self._role, first.tokens)
            return None
        await self.close(ledger)
        kept = (*self._kept, *self._texts, first.text)
        most = self._options.max_tokens
        options = replace(self._options, limit=1, max_tokens=None if most is None else max(0, most - self._read))
        resample = StepReader(self._generator, self._role, self._question, kept, options)
        self._stream = None
        self.spent = True
        try:
            second = await resample._pull(ledger)
        finally:
            await resample.close(ledger)
        if second is None or (second.finish is not Finish.SEPARATOR and not second.text):
            ledger.discard(self._role, first.tokens + (second.tokens if second else 0))
            return None
        text = first.text + joiner + second.text if first.text else second.text
        return replace(second, text=text, tokens=first.tokens + second.tokens)

    async def close(self, ledger: Ledger) -> None:
        """Cancel the request upstream and count what was read of an unfinished step."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        ledger.discard(self._role, 0, stream.pending_tokens)
        prompt = stream.pending_prompt
        ledger.usage[self._role].prompt_tokens += prompt.tokens
        ledger.usage[self._role].cached_tokens += prompt.cached
        await stream.aclose()


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
        self.scores: list[float] = []  # of the kept steps, as the newest PRM call gave them
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
        """The draft that continues the kept steps, scored if there is a PRM; None: the solution ended without one.

        Raises:
            RoleFailed: the weak model or the PRM failed.
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
        """The score of a text that would continue the kept steps; None without a PRM. Not while drafts are open.

        Raises:
            RoleFailed: the PRM failed.
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
        usage.prompt_tokens += scores.tokens
        self.scores = list(values[: len(self.kept)])
        for drafted, value in zip(batch, values[len(self.kept) :], strict=True):
            drafted.score = value
