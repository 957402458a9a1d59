"""What a run keeps of each question is a few numbers, however long its solutions are."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from pathlib import Path

from tests.experiments.test_run import SETTINGS, make_point
from trim.experiments.run import Run
from trim.policies import AlwaysWeak, Threshold
from trim.tasks.simulated import TASK
from trim.types import Question, Trace


def test_neither_questions_nor_traces_stay_in_memory(tmp_path: Path) -> None:
    alive: list[int] = []

    def progress(name: str) -> None:
        alive.append(0)
        if len(alive) in (300, 550):  # at either point
            alive[-1] = sum(type(thing) in (Question, Trace) for thing in gc.get_objects())

    gc.collect()
    before = sum(type(thing) in (Question, Trace) for thing in gc.get_objects())
    run = Run(tmp_path, replace(SETTINGS, questions=300))
    points = [make_point(AlwaysWeak()), make_point(Threshold(0.5))]
    asyncio.run(run.add(points, TASK.stream(300, 5), TASK, concurrency=4, progress=progress))
    assert len(alive) == 600
    assert 0 < max(alive) - before < 100
