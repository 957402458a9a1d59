"""OpenTelemetry spans: a request, and in it each draft, score and strong step. Needs the extra `otel`.

They go where `OTEL_EXPORTER_OTLP_ENDPOINT` says, or to the provider that the process has set. Without either, or
without the extra, nothing happens. A request's `traceparent` header is taken up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from trim.errors import BackendError
from trim.types import Role

_CALLS = {Role.WEAK: "draft", Role.STRONG: "regenerate", Role.PRM: "score"}


class Spans:
    """Makes spans, where somebody wants them."""

    def __init__(self) -> None:
        self._tracer = _tracer()

    @contextmanager
    def request(self, headers: Mapping[str, str], **attributes: str | float | None) -> Iterator[None]:
        """Around a request; attributes get the prefix `trim.`."""
        if self._tracer is None:
            yield
            return
        from opentelemetry.propagate import extract

        told = {f"trim.{name}": value for name, value in attributes.items() if value is not None}
        with self._tracer.start_as_current_span("request", context=extract(dict(headers)), attributes=told):
            yield

    @contextmanager
    def call(self, role: Role) -> Iterator[None]:
        """Around a call of a backend."""
        if self._tracer is None:
            yield
            return
        from opentelemetry.trace import Status, StatusCode

        named = _CALLS[role]
        span: Any
        with self._tracer.start_as_current_span(named, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield
            except BackendError as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise


def _tracer() -> Any:
    """OpenTelemetry's tracer; None: not installed."""
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") and isinstance(
        trace.get_tracer_provider(), trace.ProxyTracerProvider
    ):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": "trim"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    return trace.get_tracer("trim")
