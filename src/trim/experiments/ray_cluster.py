"""Questions spread over a Ray cluster: workers hold the models, the run stays where it is.

A question always goes to the same worker, so that what its baselines share and the models' caches are there. A worker
that dies is started again by Ray and its open questions are asked again; as solving is seeded, nothing else comes out.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from trim.errors import ConfigError, MissingExtra, TrimError
from trim.experiments.run import Point
from trim.traces import from_json, question_from_json, question_to_json, to_json
from trim.types import Question, Trace

PointFactory = Callable[[], AbstractAsyncContextManager[Sequence[Point]]]
"""Opens the operating points of a run; called once in every worker. Must be importable there."""

_OPEN_QUESTIONS = 64  # at the same time in a worker


class _Worker:
    """Runs in a worker process: the same points as the run's, with models of its own."""

    def __init__(self, factory: PointFactory) -> None:
        self._factory = factory
        self._stack = AsyncExitStack()
        self._points: Sequence[Point] | None = None
        self._opening = asyncio.Lock()

    async def solve(self, point: int, question: dict[str, Any], seed: int) -> str:
        """The trace of one question (in its JSON form) at one point, as JSON; an error of ours as JSON too."""
        async with self._opening:
            if self._points is None:
                self._points = await self._stack.enter_async_context(self._factory())
        try:
            asked = question_from_json(question)
            return json.dumps(to_json(await self._points[point].solver.route(asked, seed=seed)))
        except TrimError as error:
            return json.dumps({"error": str(error)})

    async def close(self) -> None:
        """Close the models of this worker."""
        await self._stack.aclose()


@dataclass(frozen=True)
class _Remote:
    """A solver whose work is done in the workers."""

    workers: tuple[Any, ...]
    point: int

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        """Ask the question's worker.

        Raises:
            TrimError: what was raised there.
        """
        worker = self.workers[crc32(question.text.encode("utf-8", "replace")) % len(self.workers)]
        answer = json.loads(await worker.solve.remote(self.point, question_to_json(question), seed))
        if "schema" not in answer:  # a trace has one
            raise TrimError(answer["error"])
        return from_json(answer)


class Cluster:
    """Workers of a Ray cluster, for one run.

    Args:
        factory: opens the points.
        workers: how many; each takes one CPU of the cluster.
        address: of a running cluster; None: the one that the environment names, else one started on this machine.

    Raises:
        MissingExtra: ray is not installed.
        ConfigError: there is no cluster at the address.
    """

    def __init__(self, factory: PointFactory, *, workers: int, address: str | None = None) -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtra("ray", "ray") from None
        self._ray: Any = ray
        self._started = not ray.is_initialized()
        if self._started:
            try:
                # On one machine of our own: as many CPUs as workers, whatever the machine says it has.
                own: dict[str, Any] = {"address": address} if address else {"num_cpus": workers}
                ray.init(**own, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ConfigError(f"no Ray cluster at {address or 'this machine'}: {error}") from None
        actor = self._ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1, max_concurrency=_OPEN_QUESTIONS)(
            _Worker
        )
        self.workers = tuple(actor.remote(factory) for _ in range(workers))

    def points(self, points: Sequence[Point]) -> list[Point]:
        """The same points, solved in the workers."""
        return [
            Point(point.policy, point.parameter, _Remote(self.workers, index)) for index, point in enumerate(points)
        ]

    async def aclose(self) -> None:
        """Close the models and give the workers back."""
        await asyncio.gather(*(worker.close.remote() for worker in self.workers), return_exceptions=True)
        for worker in self.workers:
            self._ray.kill(worker)
        if self._started:
            self._ray.shutdown()
