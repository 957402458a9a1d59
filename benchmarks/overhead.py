"""CPU time of the Router per step, with models and a PRM that answer at once.

    python -m benchmarks.overhead

Prints microseconds of CPU per decided step for 1 to 1,000 concurrent questions; the target is under 100, and no
growth with the number of questions. Models and PRM yield to the other questions before each answer, as a
socket does, so that the questions really are in progress together (`most_open` counts them); what that and the
simulated models cost is in the figure. The Router's own work per step is the same for any number. What grows is
memory: 1,000 open questions do not fit a core's cache, and Python's garbage collector has more to traverse, so the last
row is measured without the collector too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from trim.backends.base import BaseBackend, BaseGenerator, step_stream
from trim.policies import AlwaysWeak, Threshold
from trim.protocols import Policy
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.simulation import SimulatedModel, is_right
from trim.types import Question, Role, Scores, Step, StepOptions

_QUESTIONS = 4_000
_REPEATS = 3


@dataclass(frozen=True)
class Instant(BaseGenerator):
    """A simulated model that yields to every other question before each step."""

    model: SimulatedModel

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        async for step in self.model.steps(question, kept, options):
            await asyncio.sleep(0)
            yield step


class InstantPrm(BaseBackend):
    """Scores by the true label and draws nothing, so that only the Router is measured."""

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """0.9 for every step that is not marked as wrong."""
        await asyncio.sleep(0)
        return Scores(tuple(0.9 if is_right((step,)) else 0.1 for step in steps))


@dataclass(frozen=True)
class Cost:
    """`seconds` of CPU for `steps`, and the most questions in progress at once."""

    seconds: float
    steps: int
    most_open: int

    @property
    def microseconds(self) -> float:
        return self.seconds / self.steps * 1e6


async def measure(router: Router, concurrency: int) -> Cost:
    """Route all questions, `concurrency` at once."""
    questions = iter([Question(f"question {i}") for i in range(_QUESTIONS)])
    steps = under_way = most_open = 0

    async def worker() -> None:
        nonlocal steps, under_way, most_open
        for question in questions:
            under_way += 1
            most_open = max(most_open, under_way)
            trace = await router.route(question)
            under_way -= 1
            steps += len(trace.decisions)

    started = time.process_time()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return Cost(time.process_time() - started, steps, most_open)


def main() -> None:
    weak, strong = Instant(SimulatedModel(Role.WEAK, 0.85)), Instant(SimulatedModel(Role.STRONG, 0.97))
    cases: list[tuple[str, Policy, int]] = [
        ("always-weak", AlwaysWeak(), 1),
        ("threshold, lookahead 0", Threshold(0.5), 0),
        ("threshold, lookahead 1", Threshold(0.5), 1),
    ]
    for name, policy, lookahead in cases:
        router = Router(weak, strong, InstantPrm(), policy, limits=Limits(lookahead=lookahead))
        alone = None
        for concurrency, collect in ((1, True), (10, True), (100, True), (1000, True), (1000, False)):
            (gc.enable if collect else gc.disable)()
            runs = [asyncio.run(measure(router, concurrency)) for _ in range(_REPEATS)]
            best = min(runs, key=lambda run: run.microseconds)
            alone = alone or best.microseconds
            row = {
                "case": name,
                "concurrency": concurrency,
                "most_open": best.most_open,
                "garbage_collector": collect,
                "microseconds_per_step": round(best.microseconds, 1),
                "of_one_question": round(best.microseconds / alone, 2),
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
