"""Cascades: the weak model answers first, and its answer is looked at before the strong model is asked.

`PrmCascade` accepts an answer by its process reward model's scores: FrugalGPT (Chen et al., arXiv 2305.05176) with a
PRM for its trained scorer, the TRIM paper's "AutoMix-PRM". `AutoMix` (Aggarwal et al., arXiv 2310.12963) has the weak
model verify itself k times and accepts by the share of votes: against a threshold, or as its meta-verifier (`gains`)
says. All of them pay for the weak answer and its verification too.

Departures: the meta-verifier's POMDP has one decision here, so its belief is a table: what the strong model adds after
each number of votes, estimated from recorded questions. A model that cannot be asked to verify (the shipped one knows
nothing but mathematics) votes by answering again: a vote is a further sample with the same answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from trim.baselines.query_level.solvers import WholeSolutions, sample_seed, with_costs_of
from trim.errors import ConfigError
from trim.policies.spec import PolicySpec
from trim.protocols import Solver
from trim.types import Question, Trace

VOTES = 4
"""Votes of a self-verification (8 in AutoMix)."""


@dataclass(frozen=True)
class PrmCascade:
    """Keeps the weak answer iff the lowest score of its steps is at least k.

    Args:
        weak: the weak model alone, its steps scored.
        strong: the strong model alone.
        threshold: k in [0, 1].
    """

    weak: Solver
    strong: Solver
    threshold: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"prm-cascade: k must lie in [0, 1], not {self.threshold}")

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        """The weak trace, or the strong one with the weak one's cost added.

        Raises:
            ConfigError: the weak trace has no scores.
        """
        weak = await self.weak.route(question, seed=seed)
        scores = [decision.score for decision in weak.decisions if decision.score is not None]
        if len(scores) < len(weak.decisions):
            raise ConfigError("prm-cascade needs weak solutions with scores: record them with --score")
        if min(scores, default=0.0) >= self.threshold:
            return weak
        return with_costs_of(await self.strong.route(question, seed=seed), [weak])


@dataclass(frozen=True)
class Verification:
    """How many of k votes were for an answer, and the traces that they cost."""

    votes: int
    traces: tuple[Trace, ...]


async def _samples(weak: Solver, question: Question, seed: int, count: int) -> tuple[Trace, ...]:
    """Further samples of the weak model, of this question."""
    seeds = [sample_seed(seed, index + 1) for index in range(count)]
    return tuple(await asyncio.gather(*(weak.route(question, seed=other) for other in seeds)))


@dataclass(frozen=True)
class Agreement:
    """Votes by answering again.

    Args:
        weak: the weak model alone.
        answer: the final answer of a solution.
        count: k.
    """

    weak: Solver
    answer: Callable[[str], str | None]
    count: int = VOTES

    async def verify(self, trace: Trace, seed: int) -> Verification:
        """How many of k further samples end in the same answer; a solution without an answer gets no vote."""
        others = await _samples(self.weak, trace.question, seed, self.count)
        return Verification(agreeing(self.answer(trace.said), [self.answer(other.said) for other in others]), others)


def agreeing(answer: str | None, others: list[str | None]) -> int:
    """How many of the other answers are the same."""
    return 0 if answer is None else sum(other == answer for other in others)


_QUESTION = (
    "Question: {question}\n\nProposed solution: {solution}\n\n"
    "Is the proposed solution correct? Answer with the single word correct or incorrect."
)


@dataclass(frozen=True)
class Asking:
    """Votes by asking the weak model, k times, whether the solution is correct (AutoMix's verification, zero-shot)."""

    weak: Solver
    count: int = VOTES

    async def verify(self, trace: Trace, seed: int) -> Verification:
        """How many of k replies say correct."""
        asked = Question(_QUESTION.format(question=trace.question.text, solution=trace.text), id=trace.question.id)
        replies = await _samples(self.weak, asked, seed, self.count)
        return Verification(sum(_says_correct(reply.text) for reply in replies), replies)


def _says_correct(text: str) -> bool:
    words = text.lower()
    return "correct" in words and "incorrect" not in words and "not correct" not in words


@dataclass(frozen=True)
class AutoMix:
    """Keeps the weak answer iff the votes on it are good enough.

    Args:
        weak, strong: the models alone.
        verifier: votes.
        accepts: whether an answer with so many votes is kept.
    """

    weak: Solver
    strong: Solver
    verifier: Agreement | Asking
    accepts: Callable[[int], bool]

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        """The weak or the strong trace with the cost of the verification added, and of the weak answer."""
        weak = await self.weak.route(question, seed=seed)
        verified = await self.verifier.verify(weak, seed)
        if self.accepts(verified.votes):
            return with_costs_of(weak, verified.traces)
        return with_costs_of(await self.strong.route(question, seed=seed), [weak, *verified.traces])


def prm_cascade(known: WholeSolutions, spec: PolicySpec) -> Callable[[float], Solver]:
    """By the lowest score of a step that is accepted."""
    return lambda k: PrmCascade(known.scored, known.strong, k)


def automix(known: WholeSolutions, spec: PolicySpec) -> Callable[[float], Solver]:
    """By the share of the votes that an answer needs."""
    return lambda share: verified(known, lambda votes: votes >= share * VOTES)


def verified(known: WholeSolutions, accepts: Callable[[int], bool]) -> AutoMix:
    """AutoMix over the solutions of a run, with the votes that its weak model can give."""
    verifier = Asking(known.weak) if known.verifiable else Agreement(known.weak, known.answer)
    return AutoMix(known.weak, known.strong, verifier, accepts)
