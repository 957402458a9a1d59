"""Admission control: rate limits of keys, a bounded queue, hard caps on spend. Clients are told when to retry.

Limits of keys and caps are checked and taken from in the usage store, so that they hold over all processes that share
its file. A request with a cap is begun only once what it may spend is written there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import isfinite

from trim.config.settings import ServeSettings
from trim.server.allowance import Allowance, written
from trim.server.api_error import ApiError
from trim.server.auth import ApiKey
from trim.server.prometheus import Metrics
from trim.server.reservations import Cap, KeyLimits, Refusal
from trim.server.usage_store import UsageStore

_QUOTA = "insufficient_quota"
_PATIENCE = 2.0  # seconds in which the usage store must be written before a request that has a cap is refused,
_SHORT_PATIENCE = 0.2  # or one without a cap is begun all the same
_LOCKED = "the gateway's usage store cannot be written, so caps and limits cannot be checked"


class AdmissionControl:
    """Decides which requests run now, wait, or are rejected.

    Args:
        settings: limits over all requests.
        usage: what was spent so far, and what is held.
        metrics: have how many run and wait.
    """

    def __init__(self, settings: ServeSettings, usage: UsageStore, metrics: Metrics) -> None:
        self.queued = 0
        self.running = 0
        self._settings = settings
        self._usage = usage
        self._metrics = metrics
        self._slots = asyncio.Semaphore(settings.max_requests)
        self._mean_seconds = 1.0  # of recent requests, an exponential moving average

    @asynccontextmanager
    async def enter(self, key: ApiKey, allowance: Allowance) -> AsyncIterator[None]:
        """Wait for a slot and hold it, with the allowance reserved. The caller settles or releases that.

        Raises:
            ApiError: 429; says when to retry. 503: the usage store cannot be written, which a limit needs.
        """
        allowance.caps = self._caps(key)
        await self._arrive(key, allowance)
        async with self._slot():
            await self._reserve(key, allowance)
            started = time.monotonic()
            try:
                yield
            finally:
                self._mean_seconds += 0.1 * (time.monotonic() - started - self._mean_seconds)

    def _caps(self, key: ApiKey) -> tuple[Cap, ...]:
        """The caps on what a request with this key spends."""
        settings = self._settings
        asked = (
            (settings.spend_per_hour, 1, None, "of the gateway for this hour"),
            (settings.spend_per_day, 24, None, "of the gateway for this day"),
            (key.spend_per_hour, 1, key.name, "of this key for this hour"),
            (key.spend_per_day, 24, key.name, "of this key for this day"),
        )
        return tuple(
            Cap(limit, hours, name, scope)
            for limit, hours, name, scope in asked
            if limit is not None and isfinite(limit)
        )

    async def _arrive(self, key: ApiKey, allowance: Allowance) -> None:
        limits = KeyLimits(key.max_requests, key.requests_per_minute)
        if not allowance.caps and limits == KeyLimits():
            return
        arrived = self._usage.arrive(allowance.id, key.name, limits, allowance.caps, allowance.needs.least)
        refusal = await written(arrived, _UNWRITTEN)
        if refusal is _UNWRITTEN:
            raise ApiError(503, _LOCKED, "overloaded", kind="server_error", retry_after=1.0)
        if refusal is not None:
            raise self._refused(refusal, key)

    async def _reserve(self, key: ApiKey, allowance: Allowance) -> None:
        needs, caps = allowance.needs, allowance.caps
        if not caps and self._usage.blocked:  # nothing is at stake but the record after a crash
            return
        reserved = self._usage.reserve(allowance.id, key.name, needs.wanted, least=needs.least, caps=caps)
        found = await written(reserved, _UNWRITTEN, _PATIENCE if caps else _SHORT_PATIENCE)
        if found is _UNWRITTEN and caps:
            raise ApiError(503, _LOCKED, "overloaded", kind="server_error", retry_after=1.0)
        if found is not _UNWRITTEN and isinstance(found, Refusal):
            raise self._refused(found, key)
        if isinstance(found, float):
            allowance.granted = found

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._slots.locked() and self.queued >= self._settings.queue:
            wait = self._mean_seconds * (self.queued + 1) / self._settings.max_requests
            raise ApiError(429, "the queue is full", "overloaded", kind="rate_limit_error", retry_after=wait)
        self._count(queued=1)
        try:
            await self._slots.acquire()
        finally:
            self._count(queued=-1)
        self._count(running=1)
        try:
            yield
        finally:
            self._count(running=-1)
            self._slots.release()

    def _count(self, *, queued: int = 0, running: int = 0) -> None:
        self.queued += queued
        self.running += running
        self._metrics.queued.set(self.queued)
        self._metrics.in_progress.set(self.running)

    def _refused(self, refusal: Refusal, key: ApiKey) -> ApiError:
        if refusal.why == "at once":
            return _rate_limited(f"this key may have {key.max_requests} requests at the same time", self._mean_seconds)
        if refusal.why == "per minute":
            return _rate_limited(f"this key may send {key.requests_per_minute:g} requests a minute", refusal.wait)
        assert refusal.cap is not None
        scope = refusal.cap.scope
        if refusal.held:
            return _rate_limited(f"the running requests may use up the budget {scope}", self._mean_seconds)
        message = f"the budget {scope} is spent, or what is left of it is too little for this request"
        return ApiError(429, message, _QUOTA, kind=_QUOTA, retry_after=refusal.wait)


_UNWRITTEN = Refusal("cap")  # the usage store was not written in time


def _rate_limited(message: str, wait: float) -> ApiError:
    return ApiError(429, message, "rate_limit_exceeded", kind="rate_limit_error", retry_after=wait)
