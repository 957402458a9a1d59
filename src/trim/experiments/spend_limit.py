"""A limit in dollars on a whole run, which no call exceeds: what a call may cost at most is held before it is made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from math import fsum
from pathlib import Path

from trim.atomic import write_json
from trim.errors import ConfigError, SpendReached
from trim.protocols import Backend
from trim.types import Price, Prices, Trace

FILE = "spend.json"
"""In the folder of a run with a limit: what all of its parts have cost, unfinished solutions included."""

_ROUNDED = 1e-12


@dataclass(eq=False)
class Call:
    """A call that is open, and what it may still cost beside what its model has counted."""

    held: float = 0.0
    busy: bool = False


class SpendLimit:
    """Lets calls and solutions begin as long as the run stays below its limit.

    Before a call its worst case is held: the prompt at a token for each byte, and all tokens that it may write. Where
    that does not fit beside what is spent and held, the call waits for others to end; where none runs, it may write
    less, and where not even the least fits the limit is reached. What a server wrote of a text that was cut off, past
    what was read of it, is not known and does not count.

    Solutions begin only where twice the highest cost so far fits for each that runs, so that few of them are broken
    off. At the start of an operating point nobody knows what its solutions cost: the first one runs alone, then as many
    at once as are done.

    Args:
        limit: dollars.
        spent: by earlier parts of the run.
    """

    def __init__(self, limit: float, spent: float = 0.0) -> None:
        self.limit = limit
        self.reached = False
        self.broken_off = 0  # solutions that were begun and not ended
        self._before = spent
        self._highest = 0.0  # cost of a solution so far
        self._models: list[tuple[Price, Backend]] = []
        self._calls: set[Call] = set()
        self._running = 0
        self._done = 0
        self._changed = asyncio.Event()

    @property
    def spent(self) -> float:
        """What the run has cost so far, in dollars."""
        return self._before + fsum(price.of(model.usage) or 0.0 for price, model in self._models)

    def count(self, model: Backend, price: Price) -> None:
        """Count from now on what an open model uses."""
        self._before -= price.of(model.usage) or 0.0
        self._models.append((price, model))

    @property
    def words(self) -> str:
        """That it was reached."""
        return f"stopped by --max-cost {self.limit:g} at ${self.spent:.6g}"

    def resume(self, spent: float, highest: float) -> None:
        """Go on behind solutions that have cost so much, before any call."""
        self._before, self._highest = max(self._before, spent), highest

    # Calls ------------------------------------------------------------------------------------------------------

    async def cover(self, call: Call, most: float, least: float) -> float:
        """Hold what a call may cost before it goes on; returns how much of `most` that is, `least` or more. The call is
        `busy` then, until `rest` or `end`.

        Raises:
            SpendReached: the limit leaves less than `least`, and no call is running that may leave more.
        """
        while (room := self._room(call)) < most and any(other.busy for other in self._calls):
            await self._change()
        if room + _ROUNDED < min(least, most):
            self.reached = True
            self.end(call)
            raise SpendReached(self.words)
        call.held, call.busy = min(most, max(room, 0.0)), True
        self._calls.add(call)
        return call.held

    def rest(self, call: Call) -> None:
        """The call waits for its reader: its model writes nothing that is not held for."""
        call.busy = False
        self._notify()

    def end(self, call: Call) -> None:
        """The call is over, and its model has counted it."""
        call.held, call.busy = 0.0, False
        self._calls.discard(call)
        self._notify()

    def _room(self, call: Call) -> float:
        return self.limit - self.spent - fsum(other.held for other in self._calls if other is not call)

    # Solutions --------------------------------------------------------------------------------------------------

    def begin_point(self) -> None:
        """Another operating point, whose solutions may cost more."""
        self._done = 0

    @asynccontextmanager
    async def solution(self) -> AsyncIterator[list[float]]:
        """Wait until a solution may begin; what it has cost is to be put into the list. The limit may be `reached`
        instead: then nothing may begin. A solution that reaches it is broken off.
        """
        while not self.reached and self._running and not self._fits():
            await self._change()
        self.reached = self.reached or not self._fits()
        begun = not self.reached
        self._running += begun
        costs: list[float] = []
        try:
            yield costs
        except SpendReached:
            self.broken_off += 1
        finally:
            self._running -= begun
            self._done += len(costs)
            self._highest = max(self._highest, *costs) if costs else self._highest
            self._notify()

    def _fits(self) -> bool:
        reserved = self._highest if not self._running else (self._running + 1) * 2.0 * self._highest
        enough = self.spent + reserved <= self.limit and self.spent < self.limit
        return enough and (self._running < self._done or not self._running)

    async def _change(self) -> None:
        await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@contextmanager
def limited(prices: Prices, dollars: float | None, folder: Path | None = None) -> Iterator[SpendLimit | None]:
    """The limit of `--max-cost`; None: there is none. What the run has cost is in its folder afterwards.

    Args:
        prices: of the models that are asked.
        dollars: that all of the run may cost, earlier parts included.
        folder: of the run, once it is there; None: it has none.

    Raises:
        ConfigError: a price is not known, or the folder's file is damaged.
    """
    if dollars is None:
        yield None
        return
    if missing := prices.missing:
        raise ConfigError(f"--max-cost needs every price, and {missing[0]} is not set (0 is a price)")
    limit = SpendLimit(dollars, spent_in(folder))
    try:
        yield limit
    finally:
        if folder is not None and folder.is_dir() and limit.spent:
            write_json(folder / FILE, {"dollars": limit.spent})


def spent_in(folder: Path | None) -> float:
    """What the parts of a run with a limit have cost so far, in dollars.

    Raises:
        ConfigError: the folder's file is damaged.
    """
    path = None if folder is None else folder / FILE
    if path is None or not path.exists():
        return 0.0
    try:
        return float(json.loads(path.read_text("utf-8"))["dollars"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError.reading(path, "it does not say what the run has cost", error) from None


def real_cost(trace: Trace) -> float:
    """What a solution has cost, with drafts that were read ahead and never decided on."""
    return (trace.measured_cost if trace.measured else trace.cost) or 0.0
