"""Reads what a server sends as fast as it comes, for a reader that may be slower: a server writes on, and is paid for
it, whether or not somebody has use for it yet. What is read ahead is limited by what the server was asked to write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Generic, Self, TypeVar

from trim.protocols import LateCounts, StepStream
from trim.types import Step

_Item = TypeVar("_Item")


class ReadAhead(Generic[_Item]):
    """An iterator over what another one gives, which a task reads from the first call on.

    Args:
        source: the other one.
    """

    def __init__(self, source: AsyncIterator[_Item]) -> None:
        self.unread: deque[_Item] = deque()
        self._source = source
        self._arrived = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _Item:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        while not self.unread:
            if self._reading.done():
                self._reading.result()
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self.unread.popleft()

    async def stop(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._reading

    async def _read(self) -> None:
        try:
            async for item in self._source:
                self.unread.append(item)
                self._arrived.set()
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
        await self.stop()
        await self._stream.aclose()
