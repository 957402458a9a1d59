"""Models whose calls are covered by a limit before they are made; see `trim.experiments.spend_limit`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from trim.backends.base import WrappedBackend, score_steps
from trim.backends.openai import OpenAIGenerator
from trim.config.factory import Backends
from trim.config.judge_names import ASKING
from trim.config.specs import RunSpec
from trim.errors import SpendReached
from trim.experiments.spend_limit import Call, SpendLimit
from trim.protocols import Judge, LateCounts, StepGenerator, StepStream
from trim.routing.cost_bounds import cost_of, most_of_steps, most_tokens
from trim.types import Finish, Price, Question, Role, Sampling, Scores, Step, StepOptions

_LEAST = 16  # tokens below which no text is begun
_THOUGHTS = 4_160  # tokens that a judge writes about a step at most, thoughts included
_REMEMBERED = 100_000  # texts that a judge has scored


def metered(backends: Backends, limit: SpendLimit | None) -> Backends:
    """The same models, whose calls a limit covers."""
    if limit is None:
        return backends
    prices, spec = backends.spec.prices, backends.spec
    return replace(
        backends,
        weak=metered_generator(backends.weak, Role.WEAK, spec, limit),
        strong=metered_generator(backends.strong, Role.STRONG, spec, limit),
        prm=metered_judge(backends.prm, prices.prm, spec, limit),
    )


def metered_generator(model: StepGenerator, role: Role, spec: RunSpec, limit: SpendLimit) -> StepGenerator:
    """A generator whose calls a limit covers."""
    price = spec.prices.by_role[role]
    limit.count(model, price)
    most = spec.sampling.max_step_tokens
    if isinstance(model, OpenAIGenerator):
        terms = _Terms(limit, price, spec.system_tokens()[role], most, model.max_tokens, model.one_by_one)
    else:
        terms = _Terms(limit, price, spec.system_tokens()[role], most, most, counted=True)
    return _MeteredGenerator(model, terms)


def metered_judge(judge: Judge, price: Price, spec: RunSpec, limit: SpendLimit) -> Judge:
    """A judge whose calls a limit covers."""
    limit.count(judge, price)
    return _MeteredJudge(judge, price, spec, limit)


@dataclass(frozen=True)
class _Terms:
    """What the calls of a generator cost.

    Args:
        limit: covers them.
        price: of its tokens.
        system: tokens before a question, besides those of its template.
        step: tokens of a step at most.
        request: tokens of a request at most, where it is not for a single step.
        counted: each step is in the model's usage once it is handed over; else a whole request, once it is closed.
    """

    limit: SpendLimit
    price: Price
    system: int
    step: int
    request: int
    counted: bool


class _MeteredGenerator(WrappedBackend):
    def __init__(self, model: StepGenerator, terms: _Terms) -> None:
        super().__init__(model)
        self._model = model
        self._terms = terms

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> StepStream:
        """Continue `kept`; see `trim.protocols.StepGenerator`."""
        return _MeteredStream(self._model, self._terms, question, kept, options)

    def sampled(self, sampling: Sampling) -> StepGenerator:
        """The same model with another sampling, under the same limit."""
        terms = replace(self._terms, step=sampling.max_step_tokens)
        return _MeteredGenerator(self._model.sampled(sampling), terms)


class _MeteredStream:
    """A stream of which no request goes out that is not covered, and no step that is not.

    `_most`: tokens that it may write in all, where the limit leaves less than it might; its last step is none then.
    """

    def __init__(
        self, model: StepGenerator, terms: _Terms, question: Question, kept: tuple[str, ...], options: StepOptions
    ) -> None:
        self._model = model
        self._terms = terms
        self._question = question
        self._kept = kept
        self._options = options
        self._prompt = terms.system + most_tokens(question) + most_of_steps(kept)
        self._call = Call()
        self._stream: StepStream | None = None
        self._written = 0
        self._asked = 0  # tokens of the requests that are covered
        self._prompts = 0  # tokens of their prompts
        self._most: int | None = None

    def __aiter__(self) -> _MeteredStream:
        return self

    @property
    def pending_tokens(self) -> int:
        return 0 if self._stream is None else self._stream.pending_tokens

    @property
    def late_counts(self) -> LateCounts:
        return LateCounts() if self._stream is None else self._stream.late_counts

    async def __anext__(self) -> Step:
        stream = await self._covered()
        try:
            step = await anext(stream)
        except StopAsyncIteration:
            self._check()
            raise
        finally:
            self._terms.limit.rest(self._call)
        self._written += step.tokens
        self._prompt += most_of_steps((step.text,))
        if step.finish is Finish.LENGTH:
            self._check()
        return step

    async def aclose(self) -> None:
        """Cancel the request upstream."""
        try:
            if self._stream is not None:
                await self._stream.aclose()
        finally:
            self._terms.limit.end(self._call)

    def _check(self) -> None:
        """Whether the text ended by itself, and not because the limit left it no more tokens."""
        if self._most is not None and self._written >= self._most:
            limit = self._terms.limit
            limit.reached = True
            raise SpendReached(limit.words)

    async def _covered(self) -> StepStream:
        """The stream, once what it may do next is covered."""
        if self._stream is None:
            tokens = self._first()
            covered = await self._cover(self._prompt, tokens, least=_LEAST)
            options = self._options
            if covered < tokens:
                self._most = covered
                options = replace(options, max_tokens=covered)
            self._asked, self._prompts = covered, self._prompt
            self._stream = self._model.steps(self._question, self._kept, options)
        elif self._most is not None:
            counted = self._written if self._terms.counted else 0
            await self._cover(0 if counted else self._prompts, max(0, self._most - counted))
        elif self._terms.counted:
            await self._cover(self._prompt, self._limited(self._terms.step))
        else:
            while self._limited(self._written + self._terms.step) > self._asked:  # another request may follow
                self._asked += self._terms.request
                self._prompts += self._prompt
            await self._cover(self._prompts, self._asked)
        return self._stream

    def _first(self) -> int:
        """Tokens of the first request at most, and of all of a stream that asks for so many at once."""
        terms = self._terms
        return self._limited(terms.step if terms.counted else max(terms.request, terms.step))

    def _limited(self, tokens: int) -> int:
        limit, most = self._options.limit, self._options.max_tokens
        tokens = tokens if limit is None else min(tokens, limit * self._terms.step)
        return tokens if most is None else min(tokens, most)

    async def _cover(self, prompt: int, tokens: int, least: int | None = None) -> int:
        """Cover a prompt and so many tokens, or, where `least` says that fewer will do, as many as there is money for;
        returns how many.
        """
        price, limit = self._terms.price, self._terms.limit
        most = cost_of(price, prompt=prompt, completion=tokens)
        enough = tokens if least is None else min(least, tokens)
        covered = await limit.cover(self._call, most, cost_of(price, prompt=prompt, completion=enough))
        if covered >= most:
            return tokens
        each = cost_of(price, completion=1_000_000) / 1e6
        left = (covered - cost_of(price, prompt=prompt)) / each if each else tokens
        return min(tokens, max(enough, int(left)))


class _MeteredJudge(WrappedBackend):
    """A judge that remembers which texts it has scored, as one that is asked in words asks about each once."""

    def __init__(self, judge: Judge, price: Price, spec: RunSpec, limit: SpendLimit) -> None:
        super().__init__(judge)
        self._judge = judge
        self._price = price
        self._limit = limit
        self._system = spec.system_tokens()[Role.PRM]
        self._asked = spec.judge.backend in ASKING
        self._scored: set[int] = set()

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """Score `steps`; see `trim.protocols.Judge`.

        Raises:
            SpendReached: the limit leaves too little.
        """
        return await self._covered(question, steps, lambda: self._judge.score(question, steps))

    async def score_steps(self, question: Question, steps: tuple[Step, ...]) -> Scores:
        """Score `steps`; see `trim.protocols.StepJudge`.

        Raises:
            SpendReached: the limit leaves too little.
        """
        texts = tuple(step.content for step in steps)
        return await self._covered(question, texts, lambda: score_steps(self._judge, question, steps))

    async def _covered(
        self, question: Question, steps: tuple[str, ...], score: Callable[[], Awaitable[Scores]]
    ) -> Scores:
        prefixes = {hash((question.text, *question.messages, *steps[: index + 1])) for index in range(len(steps))}
        prompt = self._system + most_tokens(question) + most_of_steps(steps)
        requests = len(prefixes - self._scored) if self._asked else 1
        written = requests * _THOUGHTS if self._asked else 0
        # One that thinks is asked once more, with more room.
        most = cost_of(self._price, prompt=requests * prompt * (1 + self._asked), completion=written)
        call = Call()
        await self._limit.cover(call, most, most)
        try:
            scores = await score()
        finally:
            self._limit.end(call)
        if len(self._scored) > _REMEMBERED:
            self._scored.clear()
        self._scored |= prefixes
        return scores
