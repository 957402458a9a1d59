"""OpenTelemetry spans by the semantic conventions for generative AI. Needs the extra `otel`.

A request is a span `chat MODEL` (or `text_completion MODEL`); in it each call of the weak or the strong model is a span
`chat MODEL` and each call of the process reward model a span `score MODEL`. What the conventions have no name for
begins with `trim.`. Spans go where `OTEL_EXPORTER_OTLP_ENDPOINT` points, or to the provider that the process has set.
Without either, or without the extra, nothing happens. A request's `traceparent` header is continued.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

from trim.errors import BackendError
from trim.types import Role

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

Attribute = str | float | bool | Sequence[str] | None


class SpanAttributes:
    """The attributes of an open span; does nothing without a tracer."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span

    @property
    def recorded(self) -> bool:
        """Whether anybody gets them."""
        return self._span is not None and self._span.is_recording()

    def set(self, attributes: Mapping[str, Attribute]) -> None:
        """Set those that are not None."""
        if self._span is not None:
            self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def set_tokens(self, prompt: int, completion: int) -> None:
        """Set the token counts of a call."""
        self.set({"gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": completion})


_NO_SPAN = nullcontext(SpanAttributes())


class Tracing:
    """Opens spans if OpenTelemetry is installed."""

    def __init__(self) -> None:
        self._tracer = _tracer()

    @contextmanager
    def request(
        self,
        headers: Mapping[str, str],
        operation: Literal["chat", "text_completion"],
        model: str,
        attributes: Mapping[str, Attribute],
    ) -> Iterator[SpanAttributes]:
        """A span around a request.

        Args:
            headers: of the request; `traceparent` names the parent span.
            operation: what was asked for.
            model: the name that was asked for.
            attributes: others, by their full names.
        """
        if self._tracer is None:
            yield SpanAttributes()
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        parent = extract(dict(headers))
        with self._tracer.start_as_current_span(f"{operation} {model}", parent, SpanKind.SERVER) as span:
            opened = SpanAttributes(span)
            opened.set({**_described(operation, model), **attributes})
            yield opened

    def call(self, role: Role, model: str) -> AbstractContextManager[SpanAttributes]:
        """A span around a call of a backend.

        Args:
            role: of the backend.
            model: its name.
        """
        return _NO_SPAN if self._tracer is None else _call(self._tracer, role, model)


@contextmanager
def _call(tracer: Tracer, role: Role, model: str) -> Iterator[SpanAttributes]:
    from opentelemetry.trace import SpanKind, Status, StatusCode

    operation = "score" if role is Role.PRM else "chat"
    with tracer.start_as_current_span(
        f"{operation} {model}", kind=SpanKind.CLIENT, record_exception=False, set_status_on_exception=False
    ) as span:
        opened = SpanAttributes(span)
        opened.set(_described(operation, model) | {"trim.role": role.value})
        try:
            yield opened
        except BackendError as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            opened.set({"error.type": type(error).__name__})
            raise


def _described(operation: str, model: str) -> dict[str, Attribute]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "trim",
        "gen_ai.request.model": model,
    }


def _tracer() -> Tracer | None:
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
