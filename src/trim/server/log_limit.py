"""A limit on the log: warnings that repeat are counted and summed up, so that no client can fill a disk with them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

logger = logging.getLogger("trim.server")
BURST: Final = 20
"""Warnings and errors from one place in the code that are written within `WINDOW`."""
WINDOW: Final = 10.0
"""Seconds."""


@dataclass
class _Place:
    """Warnings from one place: `count` since `began`, `left_out` of them; `last` is the newest of these."""

    began: float
    count: int = 0
    left_out: int = 0
    last: str = ""


class RepeatLimit(logging.Filter):
    """Lets `BURST` warnings or errors from one place pass in `WINDOW`, and counts the others. For one handler."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[tuple[str, str, int], _Place] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if record.levelno < logging.WARNING:
            return True
        place = self._places.setdefault((record.name, record.pathname, record.lineno), _Place(time.monotonic()))
        place.count += 1
        if place.count <= BURST:
            return True
        place.left_out += 1
        place.last = record.getMessage()
        return False

    def summaries(self) -> list[str]:
        """What was left out since the last call, one line for each place; the count begins anew."""
        now = time.monotonic()
        found = [place for place in self._places.values() if place.left_out]
        self._places = {key: place for key, place in self._places.items() if now - place.began < WINDOW}
        for place in found:
            place.began, place.count = now, 0
        lines = [f"{place.left_out} more like this were not written: {' '.join(place.last.split())}" for place in found]
        for place in found:
            place.left_out = 0
        return lines


@asynccontextmanager
async def limited_log() -> AsyncIterator[None]:
    """Limit what the root logger's handlers write, and sum up what is left out."""
    limits = [(handler, RepeatLimit()) for handler in logging.getLogger().handlers]
    for handler, limit in limits:
        handler.addFilter(limit)

    def write() -> None:
        for line in dict.fromkeys(line for _, limit in limits for line in limit.summaries()):
            logger.info("%s", line[:500])

    async def sum_up() -> None:
        while True:
            await asyncio.sleep(WINDOW)
            write()

    task = asyncio.create_task(sum_up())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        write()
        for handler, limit in limits:
            handler.removeFilter(limit)
