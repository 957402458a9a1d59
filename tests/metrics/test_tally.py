"""What is kept of each solution: little, and in the order of the questions."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import fields, replace

from tests.experiments.test_run import make_point
from trim.metrics.operating_point import operating_points
from trim.metrics.tally import Tally
from trim.policies import AlwaysWeak
from trim.types import Question, Role


def test_a_solution_leaves_forty_bytes_behind() -> None:
    trace = asyncio.run(make_point(AlwaysWeak()).solver.route(Question("q", "right", "q0")))
    tally = Tally()
    for _ in range(10_000):
        tally.add(trace)
    assert len(tally.right) == 10_000
    assert sum(sys.getsizeof(getattr(tally, column.name)) for column in fields(tally)) / 10_000 < 50


def test_solutions_with_estimated_counts_are_counted() -> None:
    trace = asyncio.run(make_point(AlwaysWeak()).solver.route(Question("q", "right", "q0")))
    guessed = replace(trace, usage=trace.usage | {Role.WEAK: replace(trace.usage[Role.WEAK], estimated=True)})
    tally = Tally()
    for one in (trace, guessed, guessed):
        tally.add(one)
    assert tally.estimated == 2
    (point,) = operating_points({("always-weak", None): tally})
    assert point.estimated == 2
