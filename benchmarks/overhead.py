"""What the Router itself costs: CPU time per step with models and PRM that answer at once.

    python -m benchmarks.overhead

Prints microseconds of CPU per decided step for 1 to 1,000 questions at the same time; the goal is under 100 and no
growth with the number of questions.
"""

from __future__ import annotations

import asyncio
import json
import time

from trim.policies import AlwaysWeak, Threshold
from trim.protocols import Policy
from trim.router import Limits, Router
from trim.simulate import SimulatedModel, SimulatedPrm
from trim.types import Question, Role, Scores

_QUESTIONS = 2_000


class InstantPrm:
    """Scores without drawing anything: only the Router is measured."""

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """0.9 for every step that does not say that it slipped."""
        return Scores(tuple(0.1 if "slip" in step else 0.9 for step in steps))


async def measure(router: Router, concurrency: int) -> float:
    """Microseconds of CPU per step."""
    questions = iter([Question(f"question {i}") for i in range(_QUESTIONS)])
    steps = 0

    async def worker() -> None:
        nonlocal steps
        for question in questions:
            trace = await router.route(question)
            steps += len(trace.decisions)

    started = time.process_time()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return (time.process_time() - started) / steps * 1e6


def main() -> None:
    """Measure and print."""
    weak, strong = SimulatedModel(Role.WEAK, 0.85), SimulatedModel(Role.STRONG, 0.97)
    rows = []
    cases: list[tuple[str, Policy, int]] = [
        ("always-weak", AlwaysWeak(), 1),
        ("threshold, lookahead 0", Threshold(0.5), 0),
        ("threshold, lookahead 1", Threshold(0.5), 1),
    ]
    for name, policy, lookahead in cases:
        router = Router(weak, strong, InstantPrm(), policy, limits=Limits(lookahead=lookahead))
        for concurrency in (1, 10, 100, 1000):
            best = min(asyncio.run(measure(router, concurrency)) for _ in range(3))
            rows.append({"case": name, "concurrency": concurrency, "microseconds_per_step": round(best, 1)})
            print(json.dumps(rows[-1]), flush=True)
    simulated = Router(weak, strong, SimulatedPrm(), Threshold(0.5))
    print(json.dumps({"with a simulated PRM that draws its scores": round(asyncio.run(measure(simulated, 100)), 1)}))


if __name__ == "__main__":
    main()
