"""A limit on what a run costs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.experiments.test_run import POLICIES, PRICES, SETTINGS, evaluate, make_point, make_task
from trim.backends.base import BaseBackend
from trim.errors import ConfigError, SpendReached
from trim.experiments.run import Outlook, Point, Run
from trim.experiments.spend_limit import Call, SpendLimit, limited
from trim.routing.router import Router
from trim.traces import read_traces
from trim.types import Price, Prices


class Counted(BaseBackend):
    """A model whose tokens cost a dollar."""

    def cost(self, dollars: float) -> None:
        self.usage.completion_tokens += round(dollars)


def limit_of(dollars: float) -> tuple[SpendLimit, Counted]:
    limit, model = SpendLimit(dollars), Counted()
    limit.count(model, Price(0.0, 1e6))
    return limit, model


def test_what_is_held_is_not_spent_by_another_call() -> None:
    async def use() -> list[float]:
        limit, model = limit_of(10.0)
        first, second = Call(), Call()
        assert await limit.cover(first, 7.0, 1.0) == 7.0
        waiting = asyncio.create_task(limit.cover(second, 5.0, 5.0))
        await asyncio.sleep(0)
        assert not waiting.done()  # the first may cost less
        model.cost(2.0)
        limit.end(first)
        return [await waiting, limit.spent]

    assert asyncio.run(use()) == [5.0, 2.0]


def test_where_nothing_runs_a_call_gets_what_is_left_or_nothing() -> None:
    async def use() -> float:
        limit, model = limit_of(10.0)
        idle, call = Call(), Call()
        await limit.cover(idle, 4.0, 4.0)
        limit.rest(idle)  # a stream whose reader does something else
        assert await limit.cover(call, 9.0, 1.0) == 6.0
        model.cost(6.0)
        limit.end(call)
        with pytest.raises(SpendReached):
            await limit.cover(call, 9.0, 1.0)
        return limit.spent

    assert asyncio.run(use()) == 6.0


def test_solutions_begin_one_by_one_at_first_and_not_where_they_may_be_broken_off() -> None:
    async def use(dollars: float) -> tuple[int, int]:
        limit, model = limit_of(dollars)
        running = most = done = 0
        waiting = iter(range(100))

        async def worker() -> None:
            nonlocal running, most, done
            for _ in waiting:
                async with limit.solution() as costs:
                    if limit.reached:
                        return
                    running += 1
                    most = max(most, running)
                    await asyncio.sleep(0)
                    model.cost(1.0)
                    costs.append(1.0)
                    running, done = running - 1, done + 1

        limit.begin_point()
        await asyncio.gather(*(worker() for _ in range(16)))
        return most, done

    assert asyncio.run(use(1000.0)) == (16, 100)
    most, done = asyncio.run(use(20.0))
    assert done in (19, 20)
    assert most < 16


def test_what_unfinished_parts_have_cost_is_remembered(tmp_path: Path) -> None:
    def part(cost: float) -> float:
        with limited(PRICES, 10.0, tmp_path) as limit:
            assert limit is not None
            model = Counted()
            limit.count(model, Price(0.0, 1e6))
            model.cost(cost)
            return limit.spent

    assert [part(2.0), part(3.0)] == [2.0, 5.0]
    assert json.loads((tmp_path / "spend.json").read_text()) == {"dollars": 5.0}
    with limited(PRICES, 10.0, tmp_path) as limit:
        assert limit is not None
        limit.resume(7.0, 1.0)
        assert limit.spent == 7.0
    (tmp_path / "spend.json").write_text("[]")
    with pytest.raises(ConfigError, match="it does not say what the run has cost"), limited(PRICES, 10.0, tmp_path):
        pass


def test_a_limit_needs_every_price() -> None:
    unpriced = Prices(Price(), PRICES.strong, PRICES.prm)
    with (
        pytest.raises(ConfigError, match=r"--max-cost needs every price, and \[weak.prices\] prompt is not set"),
        limited(unpriced, 1.0),
    ):
        pass
    with limited(unpriced, None) as limit:
        assert limit is None


def test_a_run_stops_in_time_and_goes_on_with_a_higher_limit(tmp_path: Path) -> None:
    whole = sum(trace.measured_cost or 0 for trace in read_traces(evaluate(tmp_path / "all", POLICIES).traces))
    task, settings = make_task(), replace(SETTINGS, questions=60)

    def part(limit: SpendLimit) -> tuple[float, int]:
        run = Run(tmp_path / "parts", settings, resume=True)
        points = [counted(make_point(policy), limit) for policy in POLICIES]
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


def counted(point: Point, limit: SpendLimit) -> Point:
    router = point.solver
    assert isinstance(router, Router)
    for model, price in ((router.weak, PRICES.weak), (router.strong, PRICES.strong), (router.prm, PRICES.prm)):
        assert model is not None
        limit.count(model, price)
    return point


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
