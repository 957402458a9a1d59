"""Spans as an OpenTelemetry exporter sees them."""

from __future__ import annotations

import pytest

from tests.server.gateway import ask, serving, simulated
from trim.types import Role

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")


def test_a_request_and_its_calls() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    seen = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(seen))
    trace.set_tracer_provider(provider)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with serving(simulated()) as served:
        reply = served.post(ask("hard 7", seed=5, stream=False), headers={"traceparent": parent}).json()
        served.spent(1)
    spans = seen.get_finished_spans()
    (request,) = (span for span in spans if span.name == "request")
    assert request.context is not None
    assert f"{request.context.trace_id:032x}" == parent.split("-")[1]
    assert dict(request.attributes or {}) == {"trim.policy": "threshold", "trim.parameter": 0.5}
    calls = [span for span in spans if span is not request]
    assert {span.name for span in calls} == {"draft", "score", "regenerate"}
    assert all(span.parent is not None and span.parent.span_id == request.context.span_id for span in calls)
    scored = sum(span.name == "score" for span in calls)
    assert scored == reply["trim"]["usage"][Role.PRM]["calls"]
