"""What Prometheus reads at `/metrics`. Counters of this process; several processes are several targets."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from trim.errors import BackendError
from trim.types import Role, Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STEP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_REQUEST_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """All counters of a gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "trim_requests", "Requests by policy and how they ended", ["policy", "status"], registry=self.registry
        )
        self.refused = Counter("trim_refused", "Requests refused, by status", ["status"], registry=self.registry)
        self.running = Gauge("trim_requests_running", "Requests under way", registry=self.registry)
        self.waiting = Gauge("trim_requests_waiting", "Requests in the queue", registry=self.registry)
        self.seconds = Histogram(
            "trim_request_seconds", "Seconds of a request", buckets=_REQUEST_SECONDS, registry=self.registry
        )
        self.first = Histogram(
            "trim_first_step_seconds", "Seconds to the first step", buckets=_STEP_SECONDS, registry=self.registry
        )
        self.steps = Counter("trim_steps", "Kept steps by author", ["author"], registry=self.registry)
        self.rejected = Counter("trim_rejected_drafts", "Drafts not kept", registry=self.registry)
        self.tokens = Counter("trim_tokens", "Tokens by role and kind", ["role", "kind"], registry=self.registry)
        self.cost = Counter("trim_cost", "Spend, in the unit of the prices", registry=self.registry)
        self.fallbacks = Counter("trim_fallbacks", "Ways on after a failure", ["role"], registry=self.registry)
        self.backend_seconds = Histogram(
            "trim_backend_seconds", "Seconds of a call", ["role"], buckets=_STEP_SECONDS, registry=self.registry
        )
        self.backend_errors = Counter(
            "trim_backend_errors", "Failed calls by role and kind", ["role", "kind"], registry=self.registry
        )
        self.backend_out = Gauge("trim_backend_out", "1 while a backend is out", ["role"], registry=self.registry)
        held = ["policy", "target"]
        self.share = Gauge("trim_held_share", "Realised strong share", held, registry=self.registry)
        self.effort = Gauge("trim_held_effort", "Effort that holds it", held, registry=self.registry)
        self.spend = Gauge("trim_spend", "Spend in this hour or day (UTC)", ["window"], registry=self.registry)
        self.spend_target = Gauge("trim_spend_target", "Spend that is held", ["window"], registry=self.registry)
        self._calls = {role: self.backend_seconds.labels(role.value) for role in Role}
        for role in Role:
            self.backend_out.labels(role.value).set(0)

    def called(self, role: Role, seconds: float) -> None:
        """A call went well."""
        self._calls[role].observe(seconds)

    def failed(self, role: Role, error: BackendError) -> None:
        """A call failed."""
        self.backend_errors.labels(role.value, type(error).__name__).inc()

    def used(self, usage: dict[Role, Usage], cost: float) -> None:
        """A request's usage, once it is over."""
        for role, used in usage.items():
            for kind in ("prompt", "cached", "completion", "discarded"):
                if amount := getattr(used, f"{kind}_tokens"):
                    self.tokens.labels(role.value, kind).inc(amount)
        self.cost.inc(cost)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self.registry)
