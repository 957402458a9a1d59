"""A limit in dollars on a whole run: what is begun is reserved for, and what is done is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trim.types import Trace


class SpendLimit:
    """Lets solutions begin as long as the run stays below its limit.

    Each that is running is reserved for with twice the highest cost of a solution so far, and near the limit they run
    one by one. At the start of an operating point nobody knows what its solutions cost: the first one runs alone, then
    as many at once as are done. Where it is known what one may cost at most, the limit is never exceeded; else by about
    the cost of one solution at most, if that one is the most expensive so far.

    Args:
        limit: dollars.
        spent: by earlier parts of the run.
        highest: cost of a solution so far.
        worst: what a solution may cost at most, if that is known.
    """

    def __init__(self, limit: float, spent: float = 0.0, highest: float = 0.0, worst: float | None = None) -> None:
        self._margin = 2.0 if worst is None else 1.0
        highest = max(highest, worst or 0.0)
        self.limit = limit
        self.spent = spent
        self.reached = False
        self._highest = highest
        self._running = 0
        self._done = 0
        self._changed = asyncio.Condition()

    def begin_point(self) -> None:
        """Another operating point, whose solutions may cost more."""
        self._done = 0

    @asynccontextmanager
    async def solution(self) -> AsyncIterator[list[float]]:
        """Wait until a solution may begin; what it has cost is to be put into the list. The limit may be `reached`
        instead: then nothing may begin.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self.reached or self._fits() or not self._running)
            self.reached = self.reached or not self._fits()
            if not self.reached:
                self._running += 1
            begun = not self.reached
        costs: list[float] = []
        try:
            yield costs
        finally:
            async with self._changed:
                self._running -= begun
                for cost in costs:
                    self.spent += cost
                    self._highest = max(self._highest, cost)
                    self._done += 1
                self._changed.notify_all()

    def _fits(self) -> bool:
        reserved = self._highest if not self._running else (self._running + 1) * self._margin * self._highest
        return (
            (self._running < self._done or not self._running)
            and self.spent + reserved <= self.limit
            and self.spent < self.limit
        )


def real_cost(trace: Trace) -> float:
    """What a solution has cost, with drafts that were read ahead and never decided on."""
    return (trace.measured_cost if trace.measured else trace.cost) or 0.0
