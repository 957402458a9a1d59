"""A question on which step routing can be seen at work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trim.protocols import Solver
from trim.types import Question, Trace

if TYPE_CHECKING:
    from trim.tasks import Task

_LONG = 3  # steps of a solution that is worth watching


async def instructive_question(
    weak: Solver, routed: Solver, task: Task, questions: Sequence[Question], *, seed: int
) -> Question:
    """The first question that the weak model alone gets wrong and routing gets right with a few strong steps; if there
    is none, the first.

    Args:
        weak: the weak model alone.
        routed: both models under a policy.
        task: grades the answers.
        questions: to look through, in this order.
        seed: of the solutions, which the caller will want to see once more.
    """

    def is_right(trace: Trace) -> bool:
        return task.right(task.answer(trace.said), trace.question)

    for question in questions:
        if not is_right(await weak.route(question, seed=seed)):
            trace = await routed.route(question, seed=seed)
            if is_right(trace) and any(d.rejected for d in trace.decisions) and len(trace.steps) >= _LONG:
                return question
    return questions[0]
