"""Reading the steps of one model: counts them, and asks again after one without a word in it that is not the last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from trim.errors import BackendError
from trim.protocols import StepGenerator, StepStream
from trim.reasoning import fed, left_open
from trim.routing.charges import Late
from trim.routing.usage import Ledger
from trim.steps import is_degenerate
from trim.types import Finish, Question, Role, Step, StepOptions


class RoleFailed(Exception):
    """A backend error together with the role that it happened in; the Router turns it into a fallback or raises it."""

    def __init__(self, role: Role, error: BackendError) -> None:
        super().__init__(str(error))
        self.role = role
        self.error = error


class StepReader:
    """One model continuing `kept`: pulls steps, charges them, asks again after a degenerate one.

    After the step that follows a degenerate one the reader is `spent`: its stream no longer continues the kept text
    step by step, so whoever wants more opens another. It is also spent after `options.limit` steps, and after a step
    that was cut at its limit, where its stream ends.

    `lost`: what was written last, where the model ended the solution without another step: white space or nothing, its
    tokens discarded. `late`: what its streams said behind their steps, once they are closed.
    """

    def __init__(
        self, generator: StepGenerator, role: Role, question: Question, kept: Sequence[Step], options: StepOptions
    ) -> None:
        self.spent = False
        self.lost = Step("", role, 0, Finish.EOS)
        self.late: list[Late] = []
        self._generator = generator
        self._role = role
        self._question = question
        self._kept = tuple(kept)
        self._inserted = left_open(kept, role)  # before the first step
        self._options = options
        self._steps: list[Step] = []
        self._read = 0  # tokens
        self._heard = False  # a step, or that there is none
        self._stream: StepStream | None = None

    async def next(self, ledger: Ledger) -> Step | None:
        """The next step, or None when the model ended the solution without writing another."""
        started = time.perf_counter()
        try:
            step = await self._pull(ledger)
            if step is not None and step.finish is Finish.SEPARATOR and is_degenerate(step.text):
                step = await self._again(step, ledger)
        except BackendError as error:
            raise RoleFailed(self._role, error) from error
        finally:
            ledger.busy[self._role] += time.perf_counter() - started
        if step is not None and not step.content and step.finish is not Finish.SEPARATOR:
            ledger.discard(self._role, step.tokens)
            self.lost = step
            return None
        if step is not None:
            if not self._steps and step.field == "content":
                step = replace(step, inserted=self._inserted)
            self._steps.append(step)
            self.spent = self.spent or len(self._steps) == self._options.limit or step.finish is Finish.LENGTH
        return step

    async def _pull(self, ledger: Ledger) -> Step | None:
        if self._stream is None:
            self._stream = self._generator.steps(self._question, fed(self._kept, self._role), self._options)
            ledger.usage[self._role].calls += 1
        try:
            step = await anext(self._stream)
        except StopAsyncIteration:
            self._heard = True
            return None
        if step.role is not self._role:
            step = replace(step, role=self._role)
        step = ledger.read(step)
        self._heard = True
        self._read += step.tokens
        return step

    async def _again(self, first: Step, ledger: Ledger) -> Step:
        """Ask once more with the degenerate text appended (as the paper's runs do), and give both as one step. Where
        nothing follows, the degenerate text is the last step.
        """
        await self.close(ledger)
        kept = (*self._kept, *self._steps, first)
        most = self._options.max_tokens
        options = replace(self._options, limit=1, max_tokens=None if most is None else max(0, most - self._read))
        resample = StepReader(self._generator, self._role, self._question, kept, options)
        self._stream = None
        self.spent = True
        try:
            second = await resample._pull(ledger)
        finally:
            await resample.close(ledger)
            self.late += resample.late
        if second is None:
            return replace(first, finish=Finish.EOS)
        prompt = first if first.prompt_tokens else second
        return replace(
            second,
            text=first.text + second.text,
            tokens=first.tokens + second.tokens,
            prompt_tokens=prompt.prompt_tokens,
            cached_tokens=prompt.cached_tokens,
            estimated=first.estimated or second.estimated,
        )

    async def close(self, ledger: Ledger) -> None:
        """Cancel the request upstream and count what was read of an unfinished step."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        ledger.discard(self._role, 0, stream.pending_tokens)
        late = stream.late_counts
        ledger.correct(self._role, late)
        if self._heard:
            self.late.append(Late(tuple(step.text for step in self._kept), late))
        await stream.aclose()
