"""The metrics at `/metrics`, for Prometheus.

They count this process. Worker processes that are started under `shared_by_processes` count together, each in files of
its own in one folder, and every worker answers for all of them. Counters of a worker that has ended stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from trim.errors import BackendError
from trim.types import Role, Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STEP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the client reads this variable when it is imported
_REQUEST_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


@contextmanager
def shared_by_processes(folder: Path) -> Iterator[None]:
    """The processes that are started meanwhile count together, in files in a folder, which is made."""
    folder.mkdir()
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = str(folder)
    try:
        yield
    finally:
        del os.environ[_FOLDER]
        if before is not None:
            os.environ[_FOLDER] = before


def forget(process: int, folder: Path) -> None:
    """A process that counted with others has ended: nothing is in progress there any more."""
    mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]


class Metrics:
    """All metrics of a gateway, in a registry of their own. The client adds `_total` to the names of counters."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.shared = bool(os.environ.get(_FOLDER))

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"trim_{name}", text, labels, registry=registry)

        def gauge(
            name: str,
            text: str,
            *labels: str,
            of_all: Literal["livesum", "livemax", "livemostrecent"] = "livemostrecent",
        ) -> Gauge:
            return Gauge(f"trim_{name}", text, labels, registry=registry, multiprocess_mode=of_all)

        def seconds(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"trim_{name}_seconds", text, labels, buckets=buckets, registry=registry)

        self.requests = counter("requests", "Requests by policy and outcome", "policy", "status")
        self.rejected = counter("requests_rejected", "Requests answered with an error, by HTTP status", "status")
        self.in_progress = gauge("requests_in_progress", "Requests that are being answered", of_all="livesum")
        self.queued = gauge("requests_queued", "Requests that wait in the queue", of_all="livesum")
        self.duration = seconds("request_duration", "Duration of a request", _REQUEST_SECONDS)
        self.first_step = seconds("time_to_first_step", "Time to the first step of a stream", _STEP_SECONDS)
        self.preparation = seconds(
            "policy_preparation_duration", "Duration of preparing a policy, such as solving", _STEP_SECONDS
        )
        self.steps = counter("steps", "Kept steps by the role that wrote them", "role")
        self.rejected_drafts = counter("rejected_drafts", "Drafts that were not kept")
        self.tokens = counter("tokens", "Tokens by role and kind", "role", "kind")
        self.cost = counter("cost", "Total cost in dollars, of requests whose cost is known")
        self.unknown_cost = counter("requests_of_unknown_cost", "Requests that used a model without a price")
        self.fallbacks = counter("fallbacks", "Fallbacks by the role that failed", "role")
        self.backend_duration = seconds("backend_call_duration", "Duration of a backend call", _STEP_SECONDS, "role")
        self.backend_errors = counter("backend_errors", "Failed backend calls by role and kind", "role", "kind")
        self.circuit_open = gauge(
            "backend_circuit_open", "1 while the circuit of a backend is open or half-open", "role", of_all="livemax"
        )
        self.circuit_state = gauge(
            "backend_circuit_state",
            "Processes whose circuit of a backend is closed, open or half-open",
            "role",
            "state",
            of_all="livesum",
        )
        self.silence = gauge(
            "backend_silence_seconds",
            "Seconds in which requests have waited for a backend that says nothing",
            "role",
            of_all="livemax",
        )
        self.health_checks = counter(
            "health_checks", "Health checks of a backend, by what they found", "role", "result"
        )
        self.share = gauge("strong_share", "Realised strong share, by the target that it follows", "policy", "target")
        self.effort = gauge("controller_effort", "Effort, in [0, 1], that follows a target", "policy", "target")
        self.spend = gauge("spend", "Spend in this hour or day (UTC) in dollars, as far as it is known", "window")
        self.spend_reserved = gauge("spend_reserved", "Spend in dollars that running requests have reserved")
        self.spend_target = gauge("spend_target", "Target spend of an hour or day in dollars", "window")
        self._calls = {role: self.backend_duration.labels(role.value) for role in Role}
        for role in Role:
            self.set_circuit(role, "closed")

    def set_circuit(self, role: Role, state: str) -> None:
        """Say which state the circuit of a backend is in."""
        self.circuit_open.labels(role.value).set(state != "closed")
        for each in ("closed", "open", "half-open"):
            self.circuit_state.labels(role.value, each).set(each == state)

    def health_checked(self, role: Role, *, works: bool) -> None:
        """Count a health check."""
        self.health_checks.labels(role.value, "ok" if works else "failed").inc()

    def call_succeeded(self, role: Role, duration: float) -> None:
        """Count a backend call, in seconds."""
        self._calls[role].observe(duration)

    def call_failed(self, role: Role, error: BackendError) -> None:
        """Count a failed backend call."""
        self.backend_errors.labels(role.value, type(error).__name__).inc()

    def set_controller(self, policy: str, target: str, share: float, effort: float) -> None:
        """What the controller of a target has come to."""
        self.share.labels(policy, target).set(share)
        self.effort.labels(policy, target).set(effort)

    def add_usage(self, usage: dict[Role, Usage], cost: float | None) -> None:
        """Count the tokens and the cost of a request that has ended."""
        for role, used in usage.items():
            kinds = {
                "prompt": used.prompt_tokens,
                "cached": used.cached_tokens,
                "completion": used.completion_tokens,
                "discarded": used.discarded_tokens,
            }
            for kind, amount in kinds.items():
                if _is_amount(amount):
                    self.tokens.labels(role.value, kind).inc(amount)
        if cost is None:
            self.unknown_cost.inc()
        elif _is_amount(cost):
            self.cost.inc(cost)

    def text(self) -> bytes:
        """The response of `/metrics`."""
        registry = self.registry
        if self.shared:
            MultiProcessCollector(registry := CollectorRegistry())  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _is_amount(value: float) -> bool:
    """Whether a counter can take it: one that is not finite would be all that it says from then on."""
    return isfinite(value) and value > 0
