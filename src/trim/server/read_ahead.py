"""Reads what a server sends as fast as it comes, for a reader that may be slower: a server writes on, and is paid for
it, whether or not somebody has use for it yet. A reader that is far behind is waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Generic, Self, TypeVar

from trim.protocols import LateCounts, StepStream
from trim.types import Step

_Item = TypeVar("_Item")
_MOST = 1_000_000  # characters, about, that are read ahead
_CHUNK = 200  # characters of a chunk, about


class ReadAhead(Generic[_Item]):
    """An iterator over what another one gives, which a task reads from the first call on.

    Args:
        source: the other one.
    """

    def __init__(self, source: AsyncIterator[_Item]) -> None:
        self.unread: deque[_Item] = deque()
        self._source = source
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._ahead = 0
        self._reading: asyncio.Task[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _Item:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        if self.unread:  # thousands, perhaps: others go on between two of them
            await asyncio.sleep(0)
        while not self.unread:
            if self._reading.done():
                self._reading.result()
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        item = self.unread.popleft()
        self._ahead -= self._size(item)
        self._taken.set()
        return item

    async def stop(self) -> None:
        """Read no more. Returns, or is cancelled, only when nothing reads any more."""
        reading, cancelled = self._reading, False
        if reading is None:
            return
        reading.cancel()
        while not reading.done():
            try:
                await asyncio.wait([reading])
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError
        if not reading.cancelled():
            reading.exception()  # was for a reader that has left

    def _size(self, item: _Item) -> int:
        return _CHUNK

    async def _read(self) -> None:
        try:
            async for item in self._source:
                self.unread.append(item)
                self._ahead += self._size(item)
                self._arrived.set()
                while self._ahead > _MOST:
                    self._taken.clear()
                    await self._taken.wait()
        finally:
            self._arrived.set()


class StepsAhead(ReadAhead[Step]):
    """A `StepStream` that is read ahead."""

    def __init__(self, stream: StepStream) -> None:
        super().__init__(stream)
        self._stream = stream

    @property
    def pending_tokens(self) -> int:
        """Tokens read that are in none of the steps handed over."""
        return self._stream.pending_tokens + sum(step.tokens for step in self.unread)

    @property
    def late_counts(self) -> LateCounts:
        """What was used besides."""
        late = self._stream.late_counts
        prompt = late.prompt + sum(step.prompt_tokens for step in self.unread)
        return replace(late, prompt=prompt, cached=late.cached + sum(step.cached_tokens for step in self.unread))

    async def aclose(self) -> None:
        """Stop reading, cancel the request upstream."""
        try:
            await self.stop()
        finally:
            await self._stream.aclose()

    def _size(self, item: Step) -> int:
        return len(item.text)
