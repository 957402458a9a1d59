"""The same run locally, on two Ray workers, and with one killed: `python -m tests.experiments.cluster_run DIR`.

A process of its own, since Ray leaves processes and warnings behind that a test runner would stumble over. Prints how
many results each had, whether they were the same, and what came of an error in a worker, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from tests.experiments.test_run import SETTINGS, make_point, make_task
from trim.errors import TrimError
from trim.experiments.ray_cluster import Cluster
from trim.experiments.run import Point, Run
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Policy
from trim.traces import read_traces
from trim.types import Question, Role, Trace

POLICIES: tuple[Policy, ...] = (AlwaysWeak(), AlwaysStrong(), RandomSteps(0.5), Threshold(0.5))

TWICE = replace(SETTINGS, questions=30, samples=2)

Figures = dict[tuple[str, int, str, float | None], tuple[str, int]]


class Refusing:
    """A solver that fails."""

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        raise TrimError(f"cannot solve {question.id}")


def points() -> list[Point]:
    return [*(make_point(policy) for policy in POLICIES), Point("refusing", None, Refusing())]


@asynccontextmanager
async def open_points() -> AsyncIterator[Sequence[Point]]:
    yield points()


async def pid_of(worker: Any) -> int:
    pid: int = await worker.__ray_call__.remote(lambda self: os.getpid())
    return pid


async def on_cluster(folder: Path, *, kill: bool = False) -> Figures:
    """Text and strong tokens by question, sample and point; a worker is killed after 30 of 240 solutions."""
    task, run, workers = make_task(), Run(folder, TWICE), Cluster(open_points, workers=2)
    pids = [await pid_of(worker) for worker in workers.workers]
    left = 30

    def progress(name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0 and kill:
            os.kill(pids[0], signal.SIGKILL)

    await run.add(workers.points(points())[:-1], task.questions(30, 5), task, concurrency=8, progress=progress)
    after = [await pid_of(worker) for worker in workers.workers]
    assert len(set(pids)) == 2
    assert (after != pids) is kill
    await workers.aclose()
    return figures(run)


async def refused() -> str:
    workers = Cluster(open_points, workers=1)
    try:
        await workers.points(points())[-1].solver.route(Question("x", id="q7"))
    except TrimError as error:
        return str(error)
    finally:
        await workers.aclose()
    return ""


def figures(run: Run) -> Figures:
    return {
        (t.question.id, t.seed, t.policy, t.parameter): (t.text, t.usage[Role.STRONG].completion_tokens)
        for t in read_traces(run.traces)
    }


def main() -> None:
    folder = Path(sys.argv[1])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    run, task = Run(folder / "here", TWICE), make_task()
    asyncio.run(run.add(points()[:-1], task.questions(30, 5), task))
    here = figures(run)
    cluster = asyncio.run(on_cluster(folder / "cluster"))
    killed = asyncio.run(on_cluster(folder / "killed", kill=True))
    answer = {"solutions": len(here), "cluster": cluster == here, "killed": killed == here}
    print(json.dumps(answer | {"refused": asyncio.run(refused())}))
    ray.shutdown()


if __name__ == "__main__":
    main()
