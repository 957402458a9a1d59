"""Who may come in, and when: limits of a key, a bounded queue, hard caps on spend. Who must wait is told how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trim.server.books import Books, this_hour
from trim.server.keys import Key
from trim.server.wire import Refusal
from trim.serving import ServeSettings

_QUOTA = "insufficient_quota"


class Gate:
    """Lets requests in.

    Args:
        settings: limits over all requests.
        books: what was spent.
    """

    def __init__(self, settings: ServeSettings, books: Books) -> None:
        self.waiting = 0
        self.running = 0
        self._settings = settings
        self._books = books
        self._turns = asyncio.Semaphore(settings.max_requests)
        self._under_way: dict[str, int] = {}
        self._tokens: dict[str, tuple[float, float]] = {}  # a key's bucket: requests left, and when that was
        self._seconds = 1.0  # that a request took lately

    @asynccontextmanager
    async def enter(self, key: Key) -> AsyncIterator[None]:
        """Wait for a turn and have it.

        Raises:
            Refusal: 429; says when to come again.
        """
        self._check(key)
        self._under_way[key.name] = self._under_way.get(key.name, 0) + 1
        try:
            async with self._turn():
                started = time.monotonic()
                try:
                    yield
                finally:
                    self._seconds += 0.1 * (time.monotonic() - started - self._seconds)
        finally:
            self._under_way[key.name] -= 1

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._turns.locked() and self.waiting >= self._settings.queue:
            after = self._seconds * (self.waiting + 1) / self._settings.max_requests
            raise Refusal(
                429, "too many requests are waiting", "overloaded", kind="rate_limit_error", retry_after=after
            )
        self.waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._turns.release()

    def _check(self, key: Key) -> None:
        self._check_spend(key)
        if key.max_requests is not None and self._under_way.get(key.name, 0) >= key.max_requests:
            raise _limited(f"{key.max_requests} requests at the same time are allowed", self._seconds)
        if key.requests_per_minute is None:
            return
        most, now = float(key.requests_per_minute), time.monotonic()
        left, then = self._tokens.get(key.name, (most, now))
        left = min(most, left + (now - then) * most / 60)
        self._tokens[key.name] = (left, now)
        if left < 1:
            raise _limited(f"{most:g} requests a minute are allowed", (1 - left) * 60 / most if most else 60.0)
        self._tokens[key.name] = (left - 1, now)

    def _check_spend(self, key: Key) -> None:
        hour = this_hour()
        day = hour - hour % 24
        caps = (
            (self._settings.spend_per_hour, hour, hour + 1, None, "of the gateway for this hour"),
            (self._settings.spend_per_day, day, day + 24, None, "of the gateway for this day"),
            (key.spend_per_day, day, day + 24, key.name, "of this key for this day"),
        )
        for cap, since, until, name, words in caps:
            if cap is not None and self._books.spent(since, name).cost >= cap:
                after = until * 3600 - time.time()
                raise Refusal(429, f"the budget {words} is spent", _QUOTA, kind=_QUOTA, retry_after=after)


def _limited(words: str, after: float) -> Refusal:
    return Refusal(429, words, "rate_limit_exceeded", kind="rate_limit_error", retry_after=after)
