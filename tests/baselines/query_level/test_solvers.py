"""Query-level baselines on simulated models: what they choose, and what they cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from tests.money import dollars
from tests.pomdp.fit.recorded import PRICES, STRONG_MODEL, WEAK_MODEL
from trim.baselines.query_level.cascade import Agreement, Asking, AutoMix, PrmCascade
from trim.baselines.query_level.solvers import (
    WEAK_SAMPLE,
    OracleQuery,
    QueryRouter,
    Remembered,
    Sample,
    at_random,
    sample_seed,
    with_costs_of,
)
from trim.errors import ConfigError, TraceError
from trim.policies import AlwaysStrong, AlwaysWeak
from trim.protocols import Solver
from trim.routing.router import Router
from trim.simulation import SimulatedPrm, is_right
from trim.types import Question, Role, Step, Trace

QUESTIONS = [Question(f"question {i}", "right", f"q{i}") for i in range(150)]


def right(trace: Trace) -> bool:
    return is_right(tuple(step.text for step in trace.steps))


def answer(text: str) -> str | None:
    return text.rpartition("#### ")[2] or None


@dataclass
class Counting:
    """A solver that counts its calls."""

    solver: Solver
    calls: int = 0

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        self.calls += 1
        return await self.solver.route(question, seed=seed)


def alone(*, strong: bool = False, scores: bool = False) -> Router:
    policy = AlwaysStrong() if strong else AlwaysWeak(uses_scores=scores)
    return Router(WEAK_MODEL, STRONG_MODEL, SimulatedPrm(0.95), policy, prices=PRICES)


WEAK, SCORED, STRONG = (Remembered(solver) for solver in (alone(), alone(scores=True), alone(strong=True)))


def solve(solver: Solver, questions: list[Question] = QUESTIONS) -> list[Trace]:
    async def traces() -> list[Trace]:
        return [await solver.route(question, seed=7) for question in questions]

    return asyncio.run(traces())


def fresh(make: Callable[[Solver, Solver, Solver], Solver]) -> list[Trace]:
    """With solvers of this event loop."""
    return solve(make(Remembered(alone()), Remembered(alone(scores=True)), Remembered(alone(strong=True))))


def test_random_mix_is_monotone_and_has_its_rate() -> None:
    rates = (0.0, 0.2, 0.5, 0.8, 1.0)
    asked = [{q.id for q in QUESTIONS if at_random(rate)(q, 7)} for rate in rates]
    assert all(fewer <= more for fewer, more in pairwise(asked))
    assert (len(asked[0]), len(asked[-1])) == (0, 150)
    assert abs(len(asked[2]) - 75) < 20
    traces = fresh(lambda weak, _, strong: QueryRouter(weak, strong, at_random(0.5)))
    for trace in traces:
        strong = trace.usage[Role.STRONG].completion_tokens > 0
        assert strong == (trace.question.id in asked[2])
        assert strong != (trace.usage[Role.WEAK].completion_tokens > 0)
    with pytest.raises(ConfigError, match="random-query"):
        at_random(1.5)


def test_the_oracle_asks_only_where_it_helps() -> None:
    weak, strong = fresh(lambda weak, *_: weak), fresh(lambda _, __, strong: strong)
    best = fresh(lambda w, _, s: OracleQuery(w, s, right))
    for one, other, chosen in zip(weak, strong, best, strict=True):
        assert right(chosen) == (right(one) or right(other))
        asked = chosen.usage[Role.STRONG].completion_tokens > 0
        assert asked == (right(other) and not right(one))


def test_a_cascade_pays_for_the_answer_that_it_rejects() -> None:
    weak, strong = fresh(lambda _, scored, __: scored), fresh(lambda _, __, strong: strong)
    found = fresh(lambda _, scored, strong: PrmCascade(scored, strong, 0.5))
    rejected = 0
    for one, other, chosen in zip(weak, strong, found, strict=True):
        lowest = min(decision.score or 0.0 for decision in one.decisions)
        if lowest >= 0.5:
            assert (chosen.text, chosen.cost) == (one.text, one.cost)
            continue
        rejected += 1
        assert chosen.text == other.text
        assert chosen.cost == pytest.approx(dollars(one.cost) + dollars(other.cost))
        usage = chosen.usage[Role.WEAK]
        assert usage.discarded_tokens == usage.completion_tokens == one.usage[Role.WEAK].completion_tokens
        assert chosen.usage[Role.PRM].calls == one.usage[Role.PRM].calls > 0
        kept = sum(step.tokens for step in chosen.steps)
        assert kept == sum(
            u.completion_tokens - u.discarded_tokens for r, u in chosen.usage.items() if r is not Role.PRM
        )
    assert 20 < rejected < 140
    with pytest.raises(ConfigError, match="--score"):
        fresh(lambda weak, _, strong: PrmCascade(weak, strong, 0.5))
    with pytest.raises(ConfigError, match="k must lie"):
        PrmCascade(WEAK, STRONG, 2.0)


def test_automix_counts_agreeing_samples_and_their_cost() -> None:
    votes: list[int] = []

    def accepts(count: int) -> bool:
        votes.append(count)
        return count >= 3

    found = fresh(lambda weak, _, strong: AutoMix(weak, strong, Agreement(weak, answer), accepts))
    weak = fresh(lambda weak, *_: weak)
    assert {0, 4} <= set(votes) <= {0, 1, 2, 3, 4}
    for count, one, chosen in zip(votes, weak, found, strict=True):
        assert (chosen.text == one.text) or count < 3
        usage = chosen.usage[Role.WEAK]
        assert usage.calls == 5  # the answer and four votes
        assert dollars(chosen.cost) > dollars(one.cost)
        assert usage.discarded_tokens > 0


class Parrot:
    """A generator that answers a verification by whether the solution ends right, and words it in many ways."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        self.asked.append(question.text)
        trace = await alone().route(replace(question, text="x"), seed=seed)
        said = ("It is correct.", "Incorrect!", "That's not correct")[
            0 if "#### right" in question.text else 1 + seed % 2
        ]
        step = replace(trace.decisions[0], step=Step(said, Role.WEAK, 3))
        return replace(trace, decisions=(step,))


def test_asking_counts_what_the_weak_model_says() -> None:
    parrot = Parrot()

    async def votes(trace: Trace) -> int:
        return (await Asking(parrot, count=3).verify(trace, 7)).votes

    solved = next(trace for trace in fresh(lambda weak, *_: weak) if right(trace))
    failed = next(trace for trace in fresh(lambda weak, *_: weak) if not right(trace))
    assert (asyncio.run(votes(solved)), asyncio.run(votes(failed))) == (3, 0)
    assert solved.question.text in parrot.asked[0]
    assert solved.text in parrot.asked[0]


def test_nothing_is_solved_twice_and_records_are_reused() -> None:
    counting = Counting(alone())
    solve(QueryRouter(Remembered(counting), STRONG, lambda *_: False), QUESTIONS[:5] * 3)
    assert counting.calls == 5
    recorded = solve(Sample(alone(), 2), QUESTIONS[:5])
    assert all(trace.seed == 7 for trace in recorded)
    replay = Remembered(None)
    for trace in recorded:
        replay.remember(replace(trace, policy=WEAK_SAMPLE, parameter=2))
    again = asyncio.run(replay.route(QUESTIONS[0], seed=sample_seed(7, 2)))
    assert again.text == recorded[0].text
    with pytest.raises(TraceError, match="'q0' with seed 7 is not in the record"):
        asyncio.run(replay.route(QUESTIONS[0], seed=7))


def test_costs_add_up() -> None:
    weak, strong = solve(alone(), QUESTIONS[:2])
    both = with_costs_of(strong, [weak, weak])
    assert both.seconds == pytest.approx(strong.seconds + 2 * weak.seconds)
    assert both.cost == pytest.approx(dollars(strong.cost) + 2 * dollars(weak.cost))
    assert with_costs_of(strong, []) == strong
