"""The question of a demonstration: wrong without routing, right with it, and long enough to watch."""

from __future__ import annotations

import asyncio

from trim.experiments.demonstration import instructive_question
from trim.policies import AlwaysStrong, AlwaysWeak, Threshold
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.tasks.simulated import TASK
from trim.types import Question, Role, Trace

SEED = 7
WEAK = SimulatedModel(Role.WEAK, 0.8)
STRONG = SimulatedModel(Role.STRONG, 1.0)
ALONE = Router(WEAK, STRONG, None, AlwaysWeak())
ROUTED = Router(WEAK, STRONG, SimulatedPrm(1.0), Threshold(0.5))


def solved(solver: Router, question: Question) -> tuple[Trace, bool]:
    trace = asyncio.run(solver.route(question, seed=SEED))
    return trace, TASK.right(TASK.answer(trace.text), question)


def test_the_first_question_on_which_routing_matters() -> None:
    questions = TASK.questions(40, 1)
    found = asyncio.run(instructive_question(ALONE, ROUTED, TASK, questions, seed=SEED))
    trace, right = solved(ROUTED, found)
    assert right
    assert len(trace.steps) >= 3
    assert any(decision.rejected for decision in trace.decisions)
    assert not solved(ALONE, found)[1]
    for earlier in questions[: questions.index(found)]:
        trace, right = solved(ROUTED, earlier)
        assert solved(ALONE, earlier)[1] or not right or len(trace.steps) < 3


def test_the_first_of_all_where_routing_never_matters() -> None:
    questions = TASK.questions(5, 1)
    strong = Router(WEAK, STRONG, None, AlwaysStrong())
    assert asyncio.run(instructive_question(strong, ROUTED, TASK, questions, seed=SEED)) == questions[0]
