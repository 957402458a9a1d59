"""Latency of optimistic drafting: wall-clock time per question against stop-and-go and against the lower bound.

    python -m benchmarks.lookahead [--longest N]                        simulated latencies
    python -m benchmarks.lookahead --config examples/vllm.toml          real servers, one question at a time

Simulated latencies are those of real deployments: weak 10 ms and strong 25 ms per token, 40 tokens per step, 150 ms per
PRM call, about a fifth of the steps by the strong model. All questions run concurrently, so it takes two minutes.
Solutions have 1 to `--longest` steps. The wait for the last step's score cannot be hidden, so short ones gain less.
The lower bound is the time of the weak model alone plus that of the regenerated steps themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from trim.config.factory import open_backends
from trim.config.loading import load_config
from trim.policies import AlwaysWeak, Threshold
from trim.protocols import Policy
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm, even_lengths
from trim.tasks import load_task
from trim.types import Question, Role, Trace

REPEATS = 2
WEAK_TOKEN, STRONG_TOKEN, PRM_CALL, STEP_TOKENS = 0.010, 0.025, 0.150, 40
CASES = {"weak only": None, "stop-and-go": 0, "lookahead 1": 1, "lookahead 2": 2}
Build = Callable[[Policy, Limits], Router]


Runs = dict[str, list[Trace]]


async def measure(build: Build, questions: list[Question], threshold: float, together: int) -> Runs:
    """Traces of every case on the same questions and seeds, `together` at the same time."""
    found: Runs = {name: [] for name in CASES}
    for start in range(0, len(questions), together):  # in turns, so that whatever else runs here hits all cases alike
        for name, lookahead in CASES.items():
            policy: Policy = AlwaysWeak() if lookahead is None else Threshold(threshold)
            router = build(policy, Limits(lookahead=lookahead if lookahead is not None else 1))
            part = questions[start : start + together]
            found[name] += await asyncio.gather(*(router.route(question) for question in part))
    return found


def fastest(repeats: list[Runs]) -> Runs:
    """The fastest trace of each question over repeated runs: other work on the machine only adds time."""
    return {
        name: [
            min(traces, key=lambda trace: trace.seconds)
            for traces in zip(*(runs[name] for runs in repeats), strict=True)
        ]
        for name in CASES
    }


def report(runs: Runs) -> None:
    """Print one line per case, and what the columns mean."""
    seconds = {name: fmean(trace.seconds for trace in traces) for name, traces in runs.items()}
    routed = runs["stop-and-go"]
    unavoidable = seconds["weak only"] + fmean(trace.phases[Role.STRONG] for trace in routed)
    for name, value in seconds.items():
        row = {
            "case": name,
            "seconds_per_question": round(value, 3),
            "of_stop_and_go": round(value / seconds["stop-and-go"], 3),
            "of_unavoidable": round(value / unavoidable, 3),
            "discarded_weak_tokens": round(fmean(t.usage[Role.WEAK].discarded_tokens for t in runs[name]), 1),
        }
        print(json.dumps(row))
    strong = sum(step.role is Role.STRONG for trace in routed for step in trace.steps)
    share = strong / sum(len(trace.steps) for trace in routed)
    steps = fmean(len(trace.steps) for trace in routed)
    shares = {"steps_per_question": round(steps, 1), "strong_share_of_steps": round(share, 3)}
    print(json.dumps({"questions": len(routed)} | shares))


def simulated(questions: int, longest: int) -> None:
    """The simulated deployment. Tokens come in blocks of ten: a timer a token would measure the timer."""
    weak = SimulatedModel(Role.WEAK, 0.87, even_lengths(longest), STEP_TOKENS, token_seconds=WEAK_TOKEN, block=10)
    strong = SimulatedModel(Role.STRONG, 1.0, even_lengths(longest), STEP_TOKENS, token_seconds=STRONG_TOKEN, block=10)
    prm = SimulatedPrm(0.97, PRM_CALL)
    asked = [Question(f"question {i}") for i in range(questions)]

    def build(policy: Policy, limits: Limits) -> Router:
        return Router(weak, strong, prm, policy, limits=limits)

    runs = [asyncio.run(measure(build, asked, 0.5, questions)) for _ in range(REPEATS)]
    report(fastest(runs))


async def on_servers(path: Path, questions: int, threshold: float) -> None:
    """The servers of a configuration file."""
    config, task = load_config(path), load_task("gsm_symbolic")
    async with open_backends(config) as models:

        def build(policy: Policy, limits: Limits) -> Router:
            return Router(models.weak, models.strong, models.prm, policy, form=models.spec.step_format, limits=limits)

        await build(AlwaysWeak(), Limits()).route(Question("warm up"))
        report(await measure(build, task.questions(questions, 900_000), threshold, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--longest", type=int, default=20, help="simulated: steps of the longest solution")
    parser.add_argument("--config", type=Path, help="real servers instead of simulated latencies")
    parser.add_argument("--threshold", type=float, default=0.5, help="with --config: sets the strong share")
    args = parser.parse_args()
    if args.config is None:
        simulated(args.questions, args.longest)
    else:
        asyncio.run(on_servers(args.config, args.questions, args.threshold))


if __name__ == "__main__":
    main()
