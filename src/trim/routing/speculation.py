"""The weak model's drafts, read ahead and judged while the next are written. Nothing here decides what is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from trim import plugins
from trim.backends.base import score_steps
from trim.backends.token_counts import as_count, read_up_to
from trim.errors import BackendError, BadResponse, InputTooLong
from trim.protocols import Judge, StepGenerator
from trim.routing.charges import Late, Reading
from trim.routing.step_reader import RoleFailed, StepReader
from trim.routing.usage import Ledger
from trim.steps import StepFormat
from trim.types import Finish, Question, Role, Scores, Step, StepOptions


@dataclass(slots=True)
class Drafted:
    """A finished draft that waits for its score or decision."""

    step: Step
    score: float | None = None
    reading: Reading = Reading()  # what the judge takes up to here
    late: list[Late] = field(default_factory=list)  # what its stream said behind it


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
        self.steps: list[Step] = []  # kept
        self.scores: list[float] = []  # of the kept steps, as the newest call of the judge gave them
        self._readings: list[Reading] = []  # of the same steps
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
        self._end: Drafted | None = None  # what was written behind it, if it ended without another step

    @property
    def kept(self) -> tuple[str, ...]:
        """The texts of the kept steps."""
        return tuple(step.text for step in self.steps)

    async def head(self) -> Drafted | None:
        """The draft that continues the kept steps, scored if there is a judge; None: the solution ended without one.
        It is charged now: once for each call that returns.

        Raises:
            RoleFailed: the weak model or the judge failed.
        """
        if not self._queue:
            await self._await_ahead()
        if not self._queue and not self._ended:
            await self._read()
        if not self._queue:
            if self._end is not None:
                self._charge(self._end)
            return None
        head = self._queue[0]
        if self.prm is not None and head.score is None:
            if self._ahead is None and self._lookahead and not self._ended:
                self._ahead = asyncio.ensure_future(self._read_ahead())
            await self._score_ahead(self.prm)
        self._charge(head)
        if head.score is not None:
            self._charge_judge(head)
        return head

    async def judge(self, step: Step) -> float | None:
        """The score of a text that would continue the kept steps; None without a judge. Not while drafts are open.

        Raises:
            RoleFailed: the judge failed.
        """
        judged = Drafted(step)
        if self.prm is not None:
            await self._score(self.prm, [judged])
            self._charge_judge(judged)
        return judged.score

    def keep(self) -> None:
        """The head was kept: it continues the prefix, and what was drafted past it stays valid."""
        head = self._queue.pop(0)
        self.replace(head.step, head.score, head.reading)
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
        self._ended, self._end = False, None

    def replace(self, step: Step, score: float | None = None, reading: Reading = Reading()) -> None:
        """After `drop`: another step (the strong model's, an earlier draft) takes the head's place. A score that is
        not known yet comes with those of the next draft.
        """
        self.steps.append(step)
        self._readings.append(reading)
        if score is not None:
            self.scores.append(score)
        self.attempt = 0
        if self._tokens_left is not None:
            self._tokens_left = max(0, self._tokens_left - step.tokens)

    @property
    def tokens_left(self) -> int | None:
        """Completion tokens that the solution may still have past the kept steps; None: no limit."""
        return self._tokens_left

    @property
    def end(self) -> Step | None:
        """What the weak model wrote last, where it has ended the solution without another step."""
        return None if self._end is None else self._end.step

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
            kept = (*self.steps, *(drafted.step for drafted in self._queue))
            attempt = 0 if self._queue else self.attempt
            drafted = sum(drafted.step.tokens for drafted in self._queue)
            left = None if self._tokens_left is None else max(0, self._tokens_left - drafted)
            options = StepOptions(None if self._lookahead else 1, left, attempt, self._seed)
            self._reader = StepReader(self._weak, Role.WEAK, self._question, kept, options)
        reader = self._reader
        step = await reader.next(self._ledger)
        if step is None or step.finish is not Finish.SEPARATOR:
            ended = step is None or step.finish is not Finish.LENGTH
        else:
            ended = self._answers(step)
        newest = Drafted(step or reader.lost)
        try:
            if ended or reader.spent:
                newest.late = await self._close_reader()
        finally:
            self._ended = ended
            if step is None:
                self._end = newest
            else:
                self._queue.append(newest)

    def _answers(self, step: Step) -> bool:
        """Whether a step that is not in the queue yet has a final answer."""
        return answers(self._form, step, (*self.steps, *(drafted.step for drafted in self._queue)))

    async def _close_reader(self) -> list[Late]:
        reader, self._reader = self._reader, None
        if reader is None:
            return []
        await reader.close(self._ledger)
        return reader.late

    def _charge(self, drafted: Drafted) -> None:
        charged = self._ledger.charged
        drafted.step = charged.write(drafted.step, self.kept)
        for late in drafted.late:
            charged.correct(Role.WEAK, late)

    def _charge_judge(self, scored: Drafted) -> None:
        texts = (*(step.content for step in self.steps), scored.step.content)
        self._ledger.charged.judge(texts, (*self._readings, scored.reading))

    async def _score_ahead(self, prm: Judge) -> None:
        """Score the head, in one call with what is drafted past it; alone, where those together are too long."""
        try:
            await self._score(prm, self._queue)
        except RoleFailed as failure:
            if len(self._queue) == 1 or not isinstance(failure.error, InputTooLong):
                raise
            await self._score(prm, self._queue[:1])

    async def _score(self, prm: Judge, drafts: Sequence[Drafted]) -> None:
        batch = tuple(drafts)
        steps = (*self.steps, *(drafted.step for drafted in batch))
        usage = self._ledger.usage[Role.PRM]
        usage.calls += 1
        started = time.perf_counter()
        try:
            with plugins.running(f"judge {prm.identity}"):
                scores = await score_steps(prm, self._question, steps)
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
        kept, readings = len(self.steps), _readings(scores, shared=len(batch) > 1)
        self.scores, self._readings = list(values[:kept]), readings[:kept]
        for drafted, score, reading in zip(batch, values[kept:], readings[kept:], strict=True):
            drafted.score, drafted.reading = score, reading


def _readings(scores: Scores, *, shared: bool) -> list[Reading]:
    """What a judge takes up to each step; `shared`: several drafts were scored in this call."""
    estimated = scores.estimated or (shared and not scores.up_to)
    each = scores.written if len(scores.written) == len(scores.values) else (None,) * len(scores.values)
    return [
        Reading(tokens, scores.rereads, None if written is None else as_count(written) or 0, estimated)
        for tokens, written in zip(read_up_to(scores), each, strict=True)
    ]


def answers(form: StepFormat, step: Step, before: Sequence[Step]) -> bool:
    """Whether a step behind these has a final answer; none stands inside reasoning."""
    if form.answer is None or step.field != "content":
        return False
    said = "".join(kept.inserted + kept.text for kept in before if kept.field == "content") + step.inserted
    return form.has_answer(step.text, said, reasoning=step.reasoning and not step.inserted)
