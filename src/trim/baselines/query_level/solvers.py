"""Query level: one model for a whole question. Solvers over two others, the weak and the strong model alone.

A router that only looks at the question pays for the model that it chose; one that looks at an answer first
(`cascade`) pays for that too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trim import seeding
from trim.errors import ConfigError, TraceError
from trim.policies.spec import PolicySpec
from trim.protocols import Solver
from trim.types import Prices, Question, Role, Trace, Usage

if TYPE_CHECKING:
    from trim.policies.artifacts import Models


@dataclass(frozen=True)
class WholeSolutions:
    """What query-level methods are made of: both models' whole solutions of a run, each made once, and its task.

    Args:
        weak, strong: each model alone.
        scored: the weak model alone, its steps scored.
        answer: the final answer of a solution; None: it has none.
        right: whether a trace answers its question; may take seconds.
        questions: gives those of the run, which no method may have been trained on.
        models: that a trained method must have been made for.
        verifiable: the weak model can be asked whether a solution is correct.
    """

    weak: Solver
    scored: Solver
    strong: Solver
    answer: Callable[[str], str | None]
    right: Callable[[Trace], bool]
    questions: Callable[[], Iterable[Question]]
    models: Callable[[], Models]
    verifiable: bool = False


_SAMPLE_STRIDE = 1_000_003  # seeds of further samples: far from the seeds that people choose


WEAK_SAMPLE = "weak-sample"
"""What a further sample of the weak model is called in traces; the parameter is its index."""


def sample_seed(seed: int, index: int) -> int:
    """The seed of a question's sample; index 0 is the one that every policy gets."""
    return seeding.sample_seed(seed, index, _SAMPLE_STRIDE)


class Remembered:
    """A solver that solves each question once for each seed, however many methods ask.

    Args:
        solver: solves what is not known yet; None: what is not known is an error (a replay without models).
        usable: which traces may be remembered from a record.
    """

    def __init__(self, solver: Solver | None, usable: Callable[[Trace], bool] = lambda trace: True) -> None:
        self._solver = solver
        self._usable = usable
        self._known: dict[tuple[str, int], asyncio.Future[Trace]] = {}
        self._recorded: dict[tuple[str, int], Trace] = {}

    def remember(self, trace: Trace) -> None:
        """Take over a trace that was recorded earlier, a `Sample` under the seed that it was drawn with."""
        if self._usable(trace):
            index = int(trace.parameter or 0) if trace.policy == WEAK_SAMPLE else 0
            self._recorded[trace.question.text, sample_seed(trace.seed, index)] = trace

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        """The known trace, or the solver's.

        Raises:
            TraceError: there is no solver and the question was not recorded.
        """
        key = (question.text, seed)
        if key in self._recorded:
            return self._recorded[key]
        if self._solver is None:
            raise TraceError(
                f"question {question.id!r} with seed {seed} is not in the record: trim record more of them"
            )
        if key not in self._known:
            self._known[key] = asyncio.ensure_future(self._solver.route(question, seed=seed))
        return await asyncio.shield(self._known[key])


@dataclass(frozen=True)
class Sample:
    """Another sample of a solver: the same questions with seeds of their own."""

    solver: Solver
    index: int

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        """The sample's trace; it carries the seed that was asked for."""
        trace = await self.solver.route(question, seed=sample_seed(seed, self.index))
        return replace(trace, seed=seed)


@dataclass(frozen=True)
class QueryRouter:
    """One of two solvers for each question, chosen by looking at the question.

    Args:
        weak, strong: the two.
        chooses_strong: decides by the question and the seed; may take seconds.
    """

    weak: Solver
    strong: Solver
    chooses_strong: Callable[[Question, int], bool]

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        """The chosen solver's trace; nothing is paid for the choice."""
        chosen = self.strong if await asyncio.to_thread(self.chooses_strong, question, seed) else self.weak
        return await chosen.route(question, seed=seed)


def at_random(rate: float) -> Callable[[Question, int], bool]:
    """Chooses the strong model with probability `rate`, fixed by seed and question.

    Raises:
        ConfigError: the rate lies outside [0, 1].
    """
    if not 0.0 <= rate <= 1.0:
        raise ConfigError(f"random-query: the rate must lie in [0, 1], not {rate}")
    return lambda question, seed: seeding.uniform(seed, question.text, "query") < rate


@dataclass(frozen=True)
class OracleQuery:
    """Asks the strong model exactly where it is right and the weak model is wrong: the limit of query-level routing.

    Args:
        weak, strong: the two.
        right: whether a trace answers its question; may take seconds.
    """

    weak: Solver
    strong: Solver
    right: Callable[[Trace], bool]

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        """The better trace; only that one is paid for."""
        weak = await self.weak.route(question, seed=seed)
        if await asyncio.to_thread(self.right, weak):
            return weak
        strong = await self.strong.route(question, seed=seed)
        return strong if await asyncio.to_thread(self.right, strong) else weak


def with_costs_of(trace: Trace, others: Sequence[Trace]) -> Trace:
    """The trace with the cost and the time of others that went before it; all that they wrote counts as discarded."""
    return replace(
        trace,
        usage=_with(trace.usage, [other.usage for other in others]),
        cost=Prices.total(one.cost for one in (trace, *others)),
        measured=_with(trace.measured, [other.measured for other in others]),
        measured_cost=Prices.total(one.measured_cost for one in (trace, *others)),
        seconds=trace.seconds + sum(other.seconds for other in others),
        phases={role: sum(one.phases[role] for one in (trace, *others)) for role in trace.phases},
        fallbacks=(*(fallback for other in others for fallback in other.fallbacks), *trace.fallbacks),
    )


def _with(usage: dict[Role, Usage], others: Sequence[dict[Role, Usage]]) -> dict[Role, Usage]:
    """The sum; all that the others wrote counts as discarded."""
    total = dict(usage)
    for other in others:
        for role, paid in other.items():
            total[role] = total.get(role, Usage()) + replace(paid, discarded_tokens=paid.completion_tokens)
    return total


def random_query(known: WholeSolutions, spec: PolicySpec) -> Callable[[float], Solver]:
    """By the share of questions for the strong model."""
    return lambda rate: QueryRouter(known.weak, known.strong, at_random(rate))


def oracle_query(known: WholeSolutions, spec: PolicySpec) -> Callable[[float], Solver]:
    """It has no parameter."""
    return lambda _: OracleQuery(known.weak, known.strong, known.right)


def weak_sample(known: WholeSolutions, spec: PolicySpec) -> Callable[[float], Solver]:
    """By the index of the sample."""
    return lambda index: Sample(known.weak, int(index))
