"""Process reward models on vLLM: `POST /pooling` gives one probability per step mark.

The text is the question in its chat format, then every step followed by the step mark, as Qwen2.5-Math-PRM was
trained. Marks inside the question or a step are broken, so that every score belongs to the step that it seems to.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import accumulate
from math import inf

from trim.backends.answer_counts import share_out, whole_answer
from trim.backends.client import ServerBackend
from trim.backends.request_extras import RequestExtras
from trim.backends.token_counter import TokenCounter
from trim.backends.token_counts import TextCounter
from trim.errors import BackendError, BackendRefused, BadResponse, InputTooLong
from trim.off_loop import off_loop
from trim.prompts import STEP_MARK, ChatTemplate, load_template
from trim.protocols import Probe
from trim.scoring.registry import JudgeSettings, extras_of
from trim.stats import sigmoid
from trim.steps import StepFormat
from trim.types import Question, Scores

_WINDOW = 0.002  # seconds that a first call waits for others to share its request
_BATCH = 64  # texts in one request at most
_ROUNDING = 0.01  # of the sum of two probabilities in half precision
_GRACE = 0.05  # seconds; the HTTP library leaves sockets open where it is cancelled while it drops dead connections
_IN_FLIGHT = 4  # requests at a time; what comes in meanwhile shares the next


@dataclass(slots=True)
class _Waiting:
    """A text that waits to be sent; `ends`: where each step's mark ends in it."""

    text: str
    ends: tuple[int, ...]
    future: asyncio.Future[Scores]


class VllmPrm(ServerBackend):
    """A `Judge` behind vLLM's `/pooling`.

    Args:
        base_url: the server's address, with or without `/v1`.
        model: the name that the server knows the model by.
        template: chat template of the model, with its system prompt if it was trained with one.
        step_mark: the token that scores stand at.
        between: what stands between a mark and the next step; "" as in Qwen2.5-Math-PRM.
        raw_logits: the server sends logits, not probabilities.
        tokenizer: counts the tokens of a text, to refuse what does not fit before sending it.
        context: tokens that the model can read; only used with a tokenizer.
        api_key, timeout, retries, extras: see `trim.backends.client.Server`.

    Calls of concurrent questions share requests. A text that does not fit is an `InputTooLong`, never cut.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        template: ChatTemplate,
        *,
        step_mark: str = STEP_MARK,
        between: str = "",
        raw_logits: bool = False,
        tokenizer: TokenCounter | None = None,
        context: int | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        extras: RequestExtras = RequestExtras(),
    ) -> None:
        name = "process reward model"
        super().__init__(
            "vllm",
            name,
            base_url,
            model,
            api_key=api_key,
            timeout=timeout,
            retries=retries,
            extras=extras,
        )
        self.template = replace(template, specials=(*template.specials, step_mark))
        self.step_mark = step_mark
        self.between = between
        self.raw_logits = raw_logits
        self.counter = tokenizer
        self.context = context
        self._text_counter = TextCounter(tokenizer)
        self._waiting: list[_Waiting] = []
        self._in_flight: set[asyncio.Task[None]] = set()

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """P(step is correct) for each step; see `trim.protocols.Judge`.

        `Scores.tokens` are the server's count; for texts that shared a request, each text's share of it by length.
        `Scores.up_to` are counted where there is a tokenizer; else they are estimated, by length.
        """
        if not steps:
            return Scores(())
        length = question.length + sum(map(len, steps))
        text, ends = await off_loop(length, self._laid_out, question, steps)
        await off_loop(length, self._check_length, text)
        waiting = _Waiting(text, ends, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._start()
        try:
            return await waiting.future
        finally:
            if waiting in self._waiting:  # cancelled before its request went out
                self._waiting.remove(waiting)

    def text(self, question: Question, steps: tuple[str, ...]) -> str:
        """What the model reads."""
        return self._laid_out(question, steps)[0]

    def _laid_out(self, question: Question, steps: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
        """What the model reads, and where the mark of each step ends in it."""
        head = self.template.head(question.text, question.messages)
        marked = [self.template.clean(step) + self.step_mark for step in steps]
        ends = accumulate(len(step) + len(self.between) for step in marked)
        return head + self.between.join(marked), tuple(len(head) + end - len(self.between) for end in ends)

    async def trial(self, found: Probe) -> Probe:
        """Whether the server pools per step."""
        try:
            await self.score(Question("What is 1 + 1?"), ("1 + 1 = 2", "#### 2"))
        except BackendError as error:
            return replace(found, pooling=False, problem=str(error))
        return replace(found, pooling=True)

    # Sharing requests -------------------------------------------------------------------------------------------

    def _check_length(self, text: str) -> None:
        if self.counter is not None and self.context is not None:
            if self._text_counter.far_exceeds(text, self.context):
                raise InputTooLong(self.server.name, f"far more tokens than the context {self.context}")
            tokens = len(self.counter.encode(text)[0])
            if tokens > self.context:
                raise InputTooLong(self.server.name, f"{tokens} tokens, the context is {self.context}")

    def _start(self) -> None:
        """Start a request unless enough are under way; a request that ends takes the waiting texts along."""
        loop = asyncio.get_running_loop()
        self._in_flight = {task for task in self._in_flight if not task.done() and task.get_loop() is loop}
        if len(self._in_flight) < _IN_FLIGHT and not any(task.get_name() == "gather" for task in self._in_flight):
            self._in_flight.add(loop.create_task(self._serve(), name="gather"))

    async def _serve(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(_WINDOW)
        task.set_name("send")
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            if self._waiting:
                self._start()
            await self._settle(batch)

    async def _settle(self, batch: list[_Waiting]) -> None:
        """Send a batch and hand out what comes back, error or scores."""
        request = asyncio.ensure_future(self._request(batch))

        def left(_: asyncio.Future[Scores]) -> None:
            if all(waiting.future.done() for waiting in batch):  # a server that hangs keeps nobody else waiting
                asyncio.get_running_loop().call_later(_GRACE, request.cancel)

        for waiting in batch:
            waiting.future.add_done_callback(left)
        try:
            await asyncio.wait([request])
            if request.cancelled():
                return
            scores = request.result()
        except BackendRefused as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for waiting in batch:  # one text is at fault (too long): the others still get their scores
                await self._settle([waiting])
        except BaseException as error:
            request.cancel()
            for waiting in batch:
                _fail(waiting, error)
            if not isinstance(error, Exception):
                raise
        else:
            for waiting, result in zip(batch, scores, strict=True):
                if not waiting.future.done():
                    waiting.future.set_result(result)

    async def _request(self, batch: list[_Waiting]) -> list[Scores]:
        texts = [waiting.text for waiting in batch]
        self.usage.calls += 1
        answer = await self.server.post("/pooling", {"model": self.server.model, "input": texts})
        read = whole_answer(self.server.name, answer, self._text_counter, "".join(texts))
        read.add_to(self.usage)
        try:
            rows = {entry.get("index", place): entry["data"] for place, entry in enumerate(answer["data"])}
        except (KeyError, TypeError, AttributeError):
            raise BadResponse(self.server.name, "/pooling answered without data") from None
        if len(answer["data"]) != len(batch) or set(rows) != set(range(len(batch))):
            raise BadResponse(self.server.name, f"/pooling answered {len(answer['data'])} of {len(batch)} texts")
        counts = share_out(read.prompt, [len(text) for text in texts])
        return [
            await off_loop(len(waiting.text), self._scores, waiting, row, count, estimated=read.estimated)
            for row, waiting, count in zip(map(rows.__getitem__, range(len(batch))), batch, counts, strict=True)
        ]

    def _scores(self, waiting: _Waiting, row: object, count: int, *, estimated: bool) -> Scores:
        values, ends = self._values(row, len(waiting.ends)), waiting.ends
        if self.counter is None:
            return Scores(values, count, tuple(count * end // ends[-1] for end in ends), estimated=True)
        starts = sorted(start for start, _ in self.counter.encode(waiting.text)[1])
        return Scores(values, count, tuple(bisect_left(starts, end) for end in ends), estimated=estimated)

    def _values(self, row: object, steps: int) -> tuple[float, ...]:
        """One probability per step from one [bad, good] or [good] per mark."""
        if not isinstance(row, list) or len(row) != steps:
            found = len(row) if isinstance(row, list) else "no list of"
            raise BadResponse(
                self.server.name, f"{found} scores for {steps} steps", "is the pooler's step_tag_id that of step_mark?"
            )
        return tuple(self._value(entry if isinstance(entry, list) else [entry]) for entry in row)

    def _value(self, classes: list[object]) -> float:
        """P(good) of one mark, from [bad, good] or [good]."""
        shown = str(classes)[:100]
        numbers = [x for x in classes if isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < inf]
        if len(numbers) != len(classes):
            raise BadResponse(self.server.name, f"scores that are not numbers: {shown}")
        if len(numbers) not in (1, 2):
            raise BadResponse(self.server.name, f"scores of {len(numbers)} classes, not of bad and good: {shown}")
        if self.raw_logits:
            return sigmoid(numbers[-1] - sum(numbers[:-1]))
        whole = len(numbers) == 1 or abs(sum(numbers) - 1.0) <= _ROUNDING
        if not whole or not all(0.0 <= number <= 1.0 for number in numbers):
            raise BadResponse(
                self.server.name, f"scores that are not probabilities: {shown}", "[prm] raw_logits = true"
            )
        return float(numbers[-1])


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())


def open_judge(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> VllmPrm:
    """The judge that `[prm]` describes.

    Raises:
        ConfigError: there is no such template or tokenizer.
    """
    return VllmPrm(
        settings.base_url,
        settings.model,
        load_template(settings.template, settings.system),
        step_mark=settings.step_mark,
        raw_logits=settings.raw_logits,
        tokenizer=None if settings.tokenizer is None else TokenCounter(settings.tokenizer),
        context=settings.context,
        api_key=api_key,
        timeout=settings.timeout,
        retries=settings.retries,
        extras=extras_of(settings),
    )
