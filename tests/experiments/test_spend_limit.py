"""A limit on what a run costs."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.experiments.test_run import POLICIES, SETTINGS, evaluate, make_point, make_task
from trim.experiments.run import Outlook, Run
from trim.experiments.spend_limit import SpendLimit
from trim.traces import read_traces


async def spend(costs: list[list[float]], limit: SpendLimit, concurrency: int) -> tuple[float, float]:
    """Solutions of several points with these costs: what they cost in all, and the most that was running at once."""
    spent = running = most = 0.0

    async def worker(waiting: list[float]) -> None:
        nonlocal spent, running, most
        while waiting:
            cost = waiting.pop()
            async with limit.solution() as told:
                if limit.reached:
                    return
                running += 1
                most = max(most, running)
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                running -= 1
                spent += cost
                told.append(cost)

    rng = random.Random(1)
    for point in costs:
        limit.begin_point()
        waiting = [*point]
        await asyncio.gather(*(worker(waiting) for _ in range(concurrency)))
    return spent, most


@pytest.mark.parametrize("seed", range(int(os.environ.get("TRIM_FUZZ", "60"))))
def test_a_run_exceeds_its_limit_by_less_than_one_solution(seed: int) -> None:
    rng = random.Random(seed)
    costs = [[mean * rng.lognormvariate(0.0, 0.5) for _ in range(60)] for mean in (0.05, 1.0, 0.3)]
    limit = rng.uniform(0.0, 1.2) * sum(map(sum, costs))
    spent, _ = asyncio.run(spend(costs, SpendLimit(limit), rng.choice((1, 4, 64))))
    assert spent <= limit + max(map(max, costs))


def test_below_the_limit_everything_runs_and_at_once() -> None:
    spent, most = asyncio.run(spend([[1.0] * 100], SpendLimit(1000.0), 16))
    assert (spent, most) == (100.0, 16)


def test_a_known_worst_case_is_never_exceeded() -> None:
    for concurrency in (1, 8):
        spent, _ = asyncio.run(spend([[0.01] * 5 + [1.0] * 20], SpendLimit(7.5, worst=1.0), concurrency))
        assert spent <= 7.5


def test_a_run_stops_in_time_and_goes_on_with_a_higher_limit(tmp_path: Path) -> None:
    whole = sum(trace.measured_cost or 0 for trace in read_traces(evaluate(tmp_path / "all", POLICIES).traces))
    task, points, settings = make_task(), [make_point(p) for p in POLICIES], replace(SETTINGS, questions=60)

    def part(limit: SpendLimit) -> tuple[float, int]:
        run = Run(tmp_path / "parts", settings, resume=True)
        asyncio.run(run.add(points, task.questions(60, 5), task, concurrency=8, limit=limit))
        costs = [trace.measured_cost or 0 for trace in read_traces(run.traces)]
        return sum(costs), len(costs)

    first = SpendLimit(whole / 2)
    spent, done = part(first)
    assert first.reached
    assert 0.3 * whole < spent <= whole / 2
    assert spent == pytest.approx(first.spent)
    second = SpendLimit(2 * whole, spent)
    assert part(second)[1] == 60 * len(POLICIES) > done
    assert not second.reached


def test_a_long_run_is_announced_and_counted_once(tmp_path: Path) -> None:
    told: list[Outlook] = []
    steps: list[str] = []
    task, points = make_task(), [make_point(p) for p in POLICIES]
    run = Run(tmp_path, replace(SETTINGS, questions=60))
    asyncio.run(
        run.add(points, task.questions(60, 5), task, concurrency=8, progress=steps.append, announce=told.append)
    )
    (outlook,) = told
    assert outlook.points == len(POLICIES)
    assert outlook.solutions == 60 * len(POLICIES) - 2 * 6
    assert outlook.seconds > 0
    assert outlook.cost is not None
    assert outlook.cost > 0
    assert len(steps) == 60 * len(POLICIES)
    wanted = [(p.policy, p.parameter) for p in points]
    assert list(run.tallies) == list(Run.open(tmp_path).tallies) == wanted
