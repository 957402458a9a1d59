"""What optimistic drafting saves: wall-clock per question against stop-and-go and against the unavoidable.

    python -m benchmarks.lookahead [--questions N]

Simulated latencies of real deployments: weak 10 ms and strong 25 ms a token, 40 tokens a step, 150 ms a PRM call, the
threshold set so that about a fifth of the steps are the strong model's. The unavoidable is the time of the weak model
alone plus that of the regenerated steps themselves. The clock runs `SPEED` times faster than real; ratios don't change.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from statistics import fmean

from trim.policies import AlwaysWeak, Threshold
from trim.router import Limits, Router
from trim.simulate import SimulatedModel, SimulatedPrm
from trim.types import Question, Role, Trace

SPEED = 5.0
WEAK_TOKEN, STRONG_TOKEN, PRM_CALL, STEP_TOKENS = 0.010, 0.025, 0.150, 40


def models() -> tuple[SimulatedModel, SimulatedModel, SimulatedPrm]:
    """The simulated deployment. Tokens come in blocks of ten: a timer a millisecond would measure the timer."""
    weak = SimulatedModel(Role.WEAK, 0.87, 12, STEP_TOKENS, WEAK_TOKEN / SPEED, block=10)
    strong = SimulatedModel(Role.STRONG, 1.0, 12, STEP_TOKENS, STRONG_TOKEN / SPEED, block=10)
    return weak, strong, SimulatedPrm(0.98, PRM_CALL / SPEED)


async def run(router: Router, questions: int) -> list[Trace]:
    """All questions at the same time: the machine is idle anyway."""
    return await asyncio.gather(*(router.route(Question(f"question {i}")) for i in range(questions)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=60)
    questions = parser.parse_args().questions
    weak, strong, prm = models()

    def measure(lookahead: int | None) -> list[Trace]:
        policy = AlwaysWeak() if lookahead is None else Threshold(0.5)
        router = Router(weak, strong, prm, policy, limits=Limits(lookahead=lookahead or 0))
        return asyncio.run(run(router, questions))

    runs = {"weak only": measure(None), "stop-and-go": measure(0), "lookahead 1": measure(1), "lookahead 2": measure(2)}
    seconds = {name: fmean(trace.seconds for trace in traces) * SPEED for name, traces in runs.items()}
    routed = runs["lookahead 1"]
    strong_steps = sum(step.role is Role.STRONG for trace in routed for step in trace.steps)
    unavoidable = seconds["weak only"] + fmean(trace.phases[Role.STRONG] for trace in routed) * SPEED
    share = strong_steps / sum(len(trace.steps) for trace in routed)
    for name, value in seconds.items():
        row = {
            "case": name,
            "seconds_per_question": round(value, 2),
            "of_stop_and_go": round(value / seconds["stop-and-go"], 3),
            "of_unavoidable": round(value / unavoidable, 3),
            "discarded_weak_tokens": round(fmean(t.usage[Role.WEAK].discarded_tokens for t in runs[name]), 1),
        }
        print(json.dumps(row))
    print(json.dumps({"strong share of steps": round(share, 3), "unavoidable": round(unavoidable, 2)}))


if __name__ == "__main__":
    main()
