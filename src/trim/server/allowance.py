"""What a request may spend: held in the usage store before its first call, and never exceeded by a call.

A call upstream is made only where the most that it can cost is covered: the text that is sent, at a token for each of
its bytes, and the tokens that may be written. Where the allowance is not enough, more is asked for; where a cap leaves
no more, the call may write less, the weak model's draft stays in place of the strong model's step, or the answer ends.

What a server writes is read and counted as it comes, also where nothing of it is decided on yet: it writes on while a
judge is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import uuid4

from trim.backends.base import WrappedBackend, score_steps
from trim.backends.openai import OpenAIGenerator
from trim.backends.token_counts import size
from trim.config.factory import Backends
from trim.errors import BackendError, BackendTimeout, TrimError
from trim.policies import AlwaysWeak
from trim.protocols import Backend, Judge, LateCounts, Policy, StepGenerator, StepStream
from trim.routing.cost_bounds import AROUND, most_of_steps, most_tokens
from trim.routing.router import Router
from trim.routing.usage import Ledger
from trim.server.read_ahead import StepsAhead
from trim.server.reservations import Cap
from trim.server.usage_store import UsageStore, UsageTotals
from trim.types import Price, Prices, Question, Role, Sampling, Scores, Step, StepOptions, Usage

_Result = TypeVar("_Result")
_BYTES = 4.0  # of a token, where nothing is known
_LEAST_STRONG = 128  # tokens below which a strong step is not begun, if the draft can stay instead
_LEAST = 16  # tokens below which no text is begun
_FIRST = 64  # tokens that a request must be able to write to be admitted
_ROUNDED = 1e-9
_PATIENCE = 2.0  # seconds in which the usage store must be written before a request with a cap gets no more


class AllowanceSpent(TrimError):
    """A cap leaves nothing for another call."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request may cost if each model writes all that it may, and the least that is of use."""

    wanted: float
    least: float

    @classmethod
    def of(cls, prices: Prices, policy: Policy, prompts: Sequence[int], *, tokens: int, strong_tokens: int) -> Needs:
        """The needs of answers.

        Args:
            prices: of all roles.
            policy: of the request.
            prompts: tokens that each answer's prompt has at most.
            tokens: that each answer may have.
            strong_tokens: that the strong model may write in each.
        """
        weak, strong, prm = prices.weak, prices.strong, prices.prm
        drafts, first = policy.uses_drafts, min(tokens, _FIRST)
        wanted = least = 0.0
        for prompt in prompts:
            judged = Usage(prompt_tokens=2 * (prompt + tokens))
            if drafts:
                wanted += _cost(weak, Usage(prompt_tokens=prompt, completion_tokens=tokens))
                least += _cost(weak, Usage(prompt_tokens=prompt, completion_tokens=first))
            if policy.uses_scores:
                wanted += _cost(prm, judged)
                least += _cost(prm, Usage(prompt_tokens=prompt + 4 * first))
            if not isinstance(policy, AlwaysWeak):
                wanted += _cost(strong, Usage(prompt_tokens=prompt, completion_tokens=min(tokens, strong_tokens)))
            if not drafts:
                least += _cost(strong, Usage(prompt_tokens=prompt, completion_tokens=min(first, strong_tokens)))
        return cls(wanted, min(least, wanted))


@dataclass(eq=False)
class Call:
    """A call that is open, and what it may still cost."""

    held: float = 0.0


class Allowance:
    """What one request may spend.

    Args:
        store: has the reservation.
        key: the name of the client's key.
        prices: of all roles.
    """

    def __init__(self, store: UsageStore, key: str, prices: Prices) -> None:
        self.id = uuid4().hex
        self.key = key
        self.prices = prices
        self.ledgers: list[Ledger] = []
        self.granted = 0.0
        self.caps: Sequence[Cap] = ()
        self.needs = Needs(0.0, 0.0)
        self._store = store
        self._open: list[Call] = []

    @property
    def used(self) -> UsageTotals:
        """What all answers have used so far."""
        cost = sum(self.prices.of(ledger.usage) or 0.0 for ledger in self.ledgers)
        return UsageTotals(cost, sum(ledger.usage[Role.STRONG].completion_tokens for ledger in self.ledgers))

    async def cover(self, call: Call, most: float) -> float:
        """Cover the most that a call can still cost, or less if a cap leaves no more; returns what is covered."""
        if call not in self._open:
            self._open.append(call)
        if not self.caps:
            return most
        missing = most - self._left(call)
        if missing > 0:
            self.granted += await written(self._store.extend(self.id, missing, self.caps), 0.0)
        call.held = max(0.0, min(most, self._left(call)))
        return call.held

    def end(self, call: Call) -> None:
        """A call is over, and counted in its ledger."""
        if call in self._open:
            self._open.remove(call)

    def note(self) -> None:
        """Note what is used, for the case that the process ends."""
        self._store.note(self.id, self.key, self.used)

    def _left(self, call: Call) -> float:
        return self.granted - self.used.cost - sum(each.held for each in self._open if each is not call)


def _cost(price: Price, usage: Usage) -> float:
    """Of tokens of one role; without a price nothing, as caps are refused then."""
    return price.of(usage) or 0.0


async def written(future: Future[_Result], otherwise: _Result, seconds: float = _PATIENCE) -> _Result:
    """What was written to the usage store, or something else where that takes too long."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(future)
    except TimeoutError:
        return otherwise


class Account:
    """One answer's part of an allowance.

    Args:
        allowance: of the request.
        ledger: of the answer.
        systems: tokens of the system prompts that the configuration adds, by role.
    """

    def __init__(self, allowance: Allowance, ledger: Ledger, systems: Mapping[Role, int] | None = None) -> None:
        self.allowance = allowance
        self.ledger = ledger
        self._systems = systems or dict.fromkeys(Role, 0)
        self._bytes = dict.fromkeys(Role, 0)  # of texts that were counted,
        self._tokens = dict.fromkeys(Role, 0)  # and their tokens
        allowance.ledgers.append(ledger)

    def most(self, role: Role, question: Question, texts: Sequence[str]) -> int:
        """Tokens of a prompt at most."""
        return most_tokens(question) + self._systems[role] + most_of_steps(texts)

    async def cover(self, call: Call, role: Role, prompt: int, tokens: int | None) -> int | None:
        """How many of these tokens the allowance covers, behind a prompt of at most so many; None: as many as the model
        writes.
        """
        price, allowance = self.price(role), self.allowance
        if tokens is None or not allowance.caps:
            await allowance.cover(call, 0.0)
            return tokens
        first = _cost(price, Usage(prompt_tokens=prompt))
        covered = await allowance.cover(call, first + _cost(price, Usage(completion_tokens=tokens)))
        each = _cost(price, Usage(completion_tokens=1))
        if covered < first * (1 - _ROUNDED):
            return 0
        return tokens if each == 0 else min(tokens, int((covered - first) / each + _ROUNDED))

    def price(self, role: Role) -> Price:
        """Of its tokens."""
        prices = self.allowance.prices
        return {Role.WEAK: prices.weak, Role.STRONG: prices.strong, Role.PRM: prices.prm}[role]

    def learn(self, role: Role, most: int, tokens: int) -> None:
        """A prompt of so many tokens at most had so many."""
        self._bytes[role] += most
        self._tokens[role] += tokens

    def estimate(self, role: Role, most: int) -> int:
        """Tokens of a prompt of so many at most."""
        known = self._bytes[role] and self._tokens[role]
        return max(1, round(most * self._tokens[role] / self._bytes[role] if known else (most - AROUND) / _BYTES))

    def metered(self, router: Router, opened: Backends) -> Router:
        """A router whose models spend no more than the allowance.

        Args:
            router: over the models as they are called.
            opened: the models as they were opened.
        """
        return replace(
            router,
            weak=MeteredGenerator(router.weak, Role.WEAK, self, opened.weak),
            strong=MeteredGenerator(router.strong, Role.STRONG, self, opened.strong),
            prm=None if router.prm is None else MeteredJudge(router.prm, self),
        )


class MeteredGenerator(WrappedBackend):
    """A `StepGenerator` that spends no more than an allowance.

    Args:
        model: the generator.
        role: its own.
        account: pays.
        opened: the generator as it was opened, without what wraps it.
    """

    def __init__(self, model: StepGenerator, role: Role, account: Account, opened: Backend) -> None:
        super().__init__(model)
        self.model = model
        self.role = role
        self.account = account
        served = isinstance(opened, OpenAIGenerator)
        self.by_request = isinstance(opened, OpenAIGenerator) and opened.one_by_one  # each step is one
        self.writes_ahead = served and not self.by_request

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> StepStream:
        """Continue `kept`; see `trim.protocols.StepGenerator`."""
        return _MeteredStream(self, question, kept, options)

    def sampled(self, sampling: Sampling) -> StepGenerator:
        """The same model with another sampling, for the same account."""
        return MeteredGenerator(self.model.sampled(sampling), self.role, self.account, self._backend)


class _MeteredStream:
    def __init__(
        self, meter: MeteredGenerator, question: Question, kept: tuple[str, ...], options: StepOptions
    ) -> None:
        self._meter = meter
        self._question = question
        self._kept = kept
        self._options = options
        self._call = Call()
        self._stream: StepStream | None = None
        self._steps: list[Step] = []
        self._prompt = meter.account.most(meter.role, question, kept)
        self._asked = False

    def __aiter__(self) -> _MeteredStream:
        return self

    @property
    def pending_tokens(self) -> int:
        return 0 if self._stream is None else self._stream.pending_tokens

    @property
    def late_counts(self) -> LateCounts:
        """What the stream says; a prompt of which nothing was heard is estimated."""
        late = LateCounts() if self._stream is None else self._stream.late_counts
        unheard = self._asked and self._meter.writes_ahead and not self._steps and late == LateCounts()
        if not unheard or self.pending_tokens:
            return late
        prompt = self._meter.account.estimate(self._meter.role, self._prompt)
        return LateCounts(prompt, estimated=True)

    async def __anext__(self) -> Step:
        meter = self._meter
        if self._stream is None or meter.by_request:
            await self._cover()
        if self._stream is None:
            raise StopAsyncIteration
        self._asked = True
        try:
            step = await anext(self._stream)
        except BackendError as error:
            self._asked = isinstance(error, BackendTimeout)  # else it was not read: refused, or not even sent
            raise
        if step.prompt_tokens and not step.estimated:
            meter.account.learn(meter.role, self._prompt, step.prompt_tokens)
        cost = _cost(meter.account.price(meter.role), Usage(1, step.prompt_tokens, step.cached_tokens, step.tokens))
        self._call.held = max(0.0, self._call.held - cost)
        self._steps.append(step)
        self._prompt += size(step.text)
        asyncio.get_running_loop().call_soon(meter.account.allowance.note)  # once the ledger has it
        return step

    async def aclose(self) -> None:
        """Cancel the request upstream."""
        self._meter.account.allowance.end(self._call)
        if self._stream is not None:
            await self._stream.aclose()

    async def _cover(self) -> None:
        """Open the stream, for as many tokens as the allowance covers, or cover another request of it.

        Raises:
            AllowanceSpent: it covers none.
        """
        meter, options = self._meter, self._options
        written = sum(step.tokens for step in self._steps)
        left = None if options.max_tokens is None else max(0, options.max_tokens - written)
        tokens = await meter.account.cover(self._call, meter.role, self._prompt, left)
        if tokens is not None and left is not None and tokens < left:
            if meter.role is Role.STRONG and options.limit == 1 and tokens < _LEAST_STRONG:
                return
            if tokens < _LEAST or self._stream is not None:
                raise AllowanceSpent("a cap on spend leaves nothing for another step")
            self._options = replace(options, max_tokens=tokens)
        if self._stream is None:
            stream = meter.model.steps(self._question, self._kept, self._options)
            self._stream = StepsAhead(stream) if meter.writes_ahead else stream


class MeteredJudge(WrappedBackend):
    """A `Judge` that spends no more than an allowance."""

    def __init__(self, judge: Judge, account: Account) -> None:
        super().__init__(judge)
        self._judge = judge
        self._account = account
        self._scored = 0  # steps, in the newest call

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """Score `steps`; see `trim.protocols.Judge`.

        Raises:
            AllowanceSpent: a cap leaves too little.
        """
        return await self._covered(question, steps, lambda: self._judge.score(question, steps))

    async def score_steps(self, question: Question, steps: tuple[Step, ...]) -> Scores:
        """Score `steps`; see `trim.protocols.StepJudge`.

        Raises:
            AllowanceSpent: a cap leaves too little.
        """
        texts = tuple(step.content for step in steps)
        return await self._covered(question, texts, lambda: score_steps(self._judge, question, steps))

    async def _covered(
        self, question: Question, steps: tuple[str, ...], score: Callable[[], Awaitable[Scores]]
    ) -> Scores:
        account = self._account
        allowance, call = account.allowance, Call()
        most = account.most(Role.PRM, question, steps)
        texts = max(1, len(steps) - self._scored)
        needed = _cost(allowance.prices.prm, Usage(prompt_tokens=most * texts))
        try:
            if await allowance.cover(call, needed) < needed * (1 - _ROUNDED):
                raise AllowanceSpent("a cap on spend leaves nothing for the judge")
            scores = await score()
        except (asyncio.CancelledError, BackendTimeout):
            self._count_unheard(most)
            raise
        finally:
            allowance.end(call)
        self._scored = len(steps)
        if not scores.estimated:
            account.learn(Role.PRM, most, scores.tokens)
        asyncio.get_running_loop().call_soon(allowance.note)
        return scores

    def _count_unheard(self, most: int) -> None:
        """The server has read what it was sent, though its answer was not waited for."""
        usage = self._account.ledger.usage[Role.PRM]
        usage.prompt_tokens += self._account.estimate(Role.PRM, most)
        usage.estimated = True
