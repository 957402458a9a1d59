"""Who may come in, and when: limits of a key, a bounded queue, hard caps on spend. Who must wait is told how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from trim.config.settings import ServeSettings
from trim.server.auth import Key
from trim.server.schemas import Refusal
from trim.server.usage_store import Books

_QUOTA = "insufficient_quota"
_FORGETTING = 0.999  # of the dearest request, per request


@dataclass(frozen=True, slots=True)
class _Cap:
    """What may be spent in the hours [since, until), by a key or (None) by all, and how many requests are under way."""

    most: float | None
    since: int
    until: int
    key: str | None
    under_way: int
    words: str


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
        self._dearest = 0.0  # cost of a request, of late
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

    def paid(self, cost: float) -> None:
        """A request is over and cost this much."""
        self._dearest = max(cost, self._dearest * _FORGETTING)

    def _check_spend(self, key: Key) -> None:
        """Refuse what could exceed a cap: every request under way may cost as much as the dearest of late."""
        hour = self._books.hour()
        day = hour - hour % 24
        everybody, own = sum(self._under_way.values()), self._under_way.get(key.name, 0)
        for cap in (
            _Cap(self._settings.spend_per_hour, hour, hour + 1, None, everybody, "of the gateway for this hour"),
            _Cap(self._settings.spend_per_day, day, day + 24, None, everybody, "of the gateway for this day"),
            _Cap(key.spend_per_day, day, day + 24, key.name, own, "of this key for this day"),
        ):
            if cap.most is None:
                continue
            spent = self._books.spent(cap.since, cap.key).cost
            if spent >= cap.most or spent + self._dearest > cap.most:
                after = cap.until * 3600 - self._books.clock()
                raise Refusal(429, f"the budget {cap.words} is spent", _QUOTA, kind=_QUOTA, retry_after=after)
            if spent + self._dearest * (cap.under_way + 1) > cap.most:
                raise _limited(f"what is under way may spend the budget {cap.words}", self._seconds)


def _limited(words: str, after: float) -> Refusal:
    return Refusal(429, words, "rate_limit_exceeded", kind="rate_limit_error", retry_after=after)
