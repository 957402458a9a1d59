"""A run over two Ray workers is the run on this machine, also when one of them is killed midway."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.pomdp.fit.recorded import STRONG_MODEL, WEAK_MODEL
from trim.errors import MissingExtra
from trim.experiments.ray_cluster import Cluster, _Remote, _Worker
from trim.experiments.run import Point
from trim.policies import AlwaysWeak
from trim.routing.router import Router
from trim.types import Message, Question, Trace


@pytest.mark.skipif(find_spec("ray") is None, reason="needs the ray extra")
def test_two_workers_and_a_killed_one_give_the_same_results(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.experiments.cluster_run", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"solutions": 240, "cluster": True, "killed": True, "refused": "cannot solve q7"}


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"trim-router\[ray\]"):
        Cluster(None, workers=1)  # type: ignore[arg-type]


def test_a_question_reaches_a_worker_whole() -> None:
    """Without ray: the worker is called as Ray would call it, with what JSON can carry."""
    seen: list[Question] = []

    class Echo:
        async def route(self, question: Question, *, seed: int = 0) -> Trace:
            seen.append(question)
            return await Router(WEAK_MODEL, STRONG_MODEL, None, AlwaysWeak()).route(question, seed=seed)

    @asynccontextmanager
    async def points() -> AsyncIterator[list[Point]]:
        yield [Point("always-weak", None, Echo())]

    class Remote:
        def __init__(self) -> None:
            self.solve, self._worker = self, _Worker(points)

        async def remote(self, point: int, question: Any, seed: int) -> str:
            return await self._worker.solve(point, json.loads(json.dumps(question)), seed)

    question = Question(
        "And now?", "3", "q1", ("1 + 2 = 3",), (Message("system", "Be brief."), Message("user", "1 + 2?"))
    )

    async def solved() -> Trace:
        return await _Remote((Remote(),), 0).route(question, seed=4)

    assert asyncio.run(solved()).question == question
    assert seen == [question]
