"""Policies are prepared (a POMDP is solved) in a thread, before a request's first decision and ahead of need.

The event loop stays free: a request at a price that is not solved yet waits, all others go on. One solution serves all
requests at a price. One policy is prepared at a time, so that solving takes one core at most, however many prices
clients think of. Policies that follow a target go first, prices of clients next, and last what a controller may need
soon. How many may wait, and how many prepared policies are kept, is bounded.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum

from trim.protocols import Policy
from trim.server.api_error import ApiError

_MAX_PREPARED = 128
_MAX_WAITING = 64


class Priority(IntEnum):
    """Which policies are prepared first."""

    TARGET = 0  # a request waits; its policy follows a target, so that others will need it too
    REQUEST = 1  # a request waits
    AHEAD = 2  # nobody waits


@dataclass(order=True)
class _Job:
    priority: Priority
    number: int
    policy: Policy = field(compare=False)
    done: asyncio.Future[None] = field(compare=False)
    waiting: int = field(default=0, compare=False)


_Key = tuple[type, str, float | None]


class PolicyPreparation:
    """Prepares policies and keeps those that were used last. A gateway's policies differ by class, name or parameter.

    Args:
        observe: told how many seconds each preparation took.
    """

    def __init__(self, observe: Callable[[float], object]) -> None:
        self._observe = observe
        self._prepared: dict[_Key, Policy] = {}  # in the order of their last use
        self._jobs: dict[_Key, _Job] = {}  # not begun, or running
        self._queue: list[_Job] = []
        self._numbers = itertools.count()
        self._thread = ThreadPoolExecutor(1, "policy-preparation")
        self._worker: asyncio.Task[None] | None = None

    def shared(self, policy: Policy) -> Policy:
        """The policy of this class, name and parameter that is prepared or about to be, or else the given one."""
        job = self._jobs.get(_key(policy))
        return self._prepared.get(_key(policy), policy if job is None else job.policy)

    async def ready(self, policy: Policy, priority: Priority = Priority.REQUEST) -> None:
        """Returns when the policy's decisions take no time.

        Raises:
            ApiError: 429, too many wait for other policies to be prepared.
            ConfigError: the policy cannot be prepared.
        """
        if not needs_preparation(policy) or self._use(policy):
            return
        key = _key(policy)
        if (job := self._jobs.get(key)) is None:
            waiting = sum(one.priority is Priority.REQUEST for one in self._jobs.values())
            if priority is Priority.REQUEST and waiting >= _MAX_WAITING:
                message = "too many requests wait for policies at new prices"
                raise ApiError(429, message, "overloaded", kind="rate_limit_error", retry_after=1.0)
            job = self._add(policy, priority)
        elif priority < job.priority:
            job.priority = priority
            heapq.heapify(self._queue)
        job.waiting += 1
        try:
            await asyncio.shield(job.done)
        finally:
            job.waiting -= 1
        if job.policy is not policy:  # two requests were first at this price; the second finds the work done
            await asyncio.get_running_loop().run_in_executor(self._thread, policy.prepare)

    def ahead(self, policies: Iterable[Policy]) -> None:
        """Prepare these soon, if nothing else is to be done. Those of an earlier call that were not begun are dropped:
        a controller has moved on.
        """
        for job in self._queue:
            if job.priority is Priority.AHEAD and not job.waiting:
                self._jobs.pop(_key(job.policy), None)
                job.done.cancel()
        self._queue = [job for job in self._queue if not job.done.cancelled()]
        heapq.heapify(self._queue)
        for policy in policies:
            if needs_preparation(policy) and _key(policy) not in self._prepared and _key(policy) not in self._jobs:
                self._add(policy, Priority.AHEAD)

    def _use(self, policy: Policy) -> bool:
        """Whether this very policy is prepared; it is the last used one then."""
        key = _key(policy)
        if self._prepared.get(key) is not policy:
            return False
        self._prepared[key] = self._prepared.pop(key)
        return True

    def _add(self, policy: Policy, priority: Priority) -> _Job:
        loop = asyncio.get_running_loop()
        job = _Job(priority, next(self._numbers), policy, loop.create_future())
        self._jobs[_key(policy)] = job
        heapq.heappush(self._queue, job)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return job

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            job = heapq.heappop(self._queue)
            try:
                if not job.waiting and job.priority is not Priority.AHEAD:
                    job.done.cancel()  # whoever asked for it has left
                    continue
                started = time.monotonic()
                await loop.run_in_executor(self._thread, job.policy.prepare)
                self._observe(time.monotonic() - started)
                self._prepared[_key(job.policy)] = job.policy
                while len(self._prepared) > _MAX_PREPARED:
                    del self._prepared[next(iter(self._prepared))]
                job.done.set_result(None)
            except Exception as error:
                if not job.done.done():
                    job.done.set_exception(error)
                    job.done.exception()  # looked at here, in case nobody waits
            finally:
                self._jobs.pop(_key(job.policy), None)

    def close(self) -> None:
        """Stop; what is being prepared is left to end by itself."""
        if self._worker is not None:
            self._worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)


def _key(policy: Policy) -> _Key:
    return type(policy), policy.name, policy.parameter


def needs_preparation(policy: Policy) -> bool:
    """Whether the policy's class has a `prepare` of its own. Thresholds change with every answer: a thread that does
    nothing would only delay them.
    """
    return type(policy).prepare is not Policy.prepare
