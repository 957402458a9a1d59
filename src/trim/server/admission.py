"""Admission control: rate limits of keys, a bounded queue, hard caps on spend. Clients are told when to retry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import isfinite

from trim.config.settings import ServeSettings
from trim.server.api_error import ApiError
from trim.server.auth import ApiKey
from trim.server.usage_store import UsageStore

_QUOTA = "insufficient_quota"
_DECAY = 0.999  # of the highest cost of a request, per request


@dataclass(frozen=True, slots=True)
class _Cap:
    """A cap on spend in the hours [since, until), for one key or (None) for all of them."""

    limit: float | None
    since: int
    until: int
    key: str | None
    in_progress: int
    scope: str


class AdmissionControl:
    """Decides which requests run now, wait, or are rejected.

    Args:
        settings: limits over all requests.
        usage: what was spent so far.
    """

    def __init__(self, settings: ServeSettings, usage: UsageStore) -> None:
        self.queued = 0
        self.running = 0
        self._settings = settings
        self._usage = usage
        self._slots = asyncio.Semaphore(settings.max_requests)
        self._in_progress: dict[str, int] = {}
        self._buckets: dict[str, tuple[float, float]] = {}  # a key's token bucket: requests left, and when that was
        self._highest_cost = 0.0  # of a recent request
        self._mean_seconds = 1.0  # of recent requests, an exponential moving average

    @asynccontextmanager
    async def enter(self, key: ApiKey) -> AsyncIterator[None]:
        """Wait for a slot and hold it.

        Raises:
            ApiError: 429; says when to retry.
        """
        self._check(key)
        self._in_progress[key.name] = self._in_progress.get(key.name, 0) + 1
        try:
            async with self._slot():
                started = time.monotonic()
                try:
                    yield
                finally:
                    self._mean_seconds += 0.1 * (time.monotonic() - started - self._mean_seconds)
        finally:
            self._in_progress[key.name] -= 1

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._slots.locked() and self.queued >= self._settings.queue:
            wait = self._mean_seconds * (self.queued + 1) / self._settings.max_requests
            raise ApiError(429, "the queue is full", "overloaded", kind="rate_limit_error", retry_after=wait)
        self.queued += 1
        try:
            await self._slots.acquire()
        finally:
            self.queued -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()

    def _check(self, key: ApiKey) -> None:
        self._check_spend(key)
        if key.max_requests is not None and self._in_progress.get(key.name, 0) >= key.max_requests:
            raise _rate_limited(f"this key may have {key.max_requests} requests at the same time", self._mean_seconds)
        if key.requests_per_minute is None:
            return
        size, now = float(key.requests_per_minute), time.monotonic()
        left, then = self._buckets.get(key.name, (size, now))
        left = min(size, left + (now - then) * size / 60)
        self._buckets[key.name] = (left, now)
        if left < 1:
            wait = (1 - left) * 60 / size if size else 60.0
            raise _rate_limited(f"this key may send {size:g} requests a minute", wait)
        self._buckets[key.name] = (left - 1, now)

    def record_cost(self, cost: float) -> None:
        """A request has ended and cost this much."""
        if isfinite(cost):
            self._highest_cost = max(cost, self._highest_cost * _DECAY)

    def _check_spend(self, key: ApiKey) -> None:
        """Reject what could exceed a cap: every running request may cost as much as the most expensive recent one."""
        hour = self._usage.hour()
        day = hour - hour % 24
        everyone, own = sum(self._in_progress.values()), self._in_progress.get(key.name, 0)
        for cap in (
            _Cap(self._settings.spend_per_hour, hour, hour + 1, None, everyone, "of the gateway for this hour"),
            _Cap(self._settings.spend_per_day, day, day + 24, None, everyone, "of the gateway for this day"),
            _Cap(key.spend_per_day, day, day + 24, key.name, own, "of this key for this day"),
        ):
            if cap.limit is None:
                continue
            spent = self._usage.totals(cap.since, cap.key).cost
            if spent >= cap.limit or spent + self._highest_cost > cap.limit:
                wait = cap.until * 3600 - self._usage.clock()
                raise ApiError(429, f"the budget {cap.scope} is spent", _QUOTA, kind=_QUOTA, retry_after=wait)
            if spent + self._highest_cost * (cap.in_progress + 1) > cap.limit:
                raise _rate_limited(f"the running requests may use up the budget {cap.scope}", self._mean_seconds)


def _rate_limited(message: str, wait: float) -> ApiError:
    return ApiError(429, message, "rate_limit_exceeded", kind="rate_limit_error", retry_after=wait)
