"""Spans as an OpenTelemetry exporter sees them, named by the semantic conventions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import trim.server
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
        reply = served.post(ask("hard 7", seed=5, n=1), headers={"traceparent": parent}).json()
        served.spent(1)
    spans = seen.get_finished_spans()
    (request,) = (span for span in spans if span.kind is trace.SpanKind.SERVER)
    assert request.name == "chat trim"
    assert request.context is not None
    assert f"{request.context.trace_id:032x}" == parent.split("-")[1]
    trim, usage = reply["trim"], reply["usage"]
    assert dict(request.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "trim",
        "gen_ai.request.model": "trim",
        "gen_ai.request.seed": 5,
        "gen_ai.request.choice.count": 1,
        "gen_ai.response.id": reply["id"],
        "gen_ai.response.model": "trim",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "trim.policy": "threshold",
        "trim.parameter": 0.5,
        "trim.strong_share": trim["strong_share"],
        "trim.cost": trim["cost"],
    }
    calls = [span for span in spans if span is not request]
    assert {span.kind for span in calls} == {trace.SpanKind.CLIENT}
    assert all(span.parent is not None and span.parent.span_id == request.context.span_id for span in calls)

    def of(role: Role) -> list[dict[str, Any]]:
        attributes = [dict(span.attributes or {}) for span in calls]
        return [found for found in attributes if found["trim.role"] == role.value]

    names = {Role.WEAK: "chat weak", Role.STRONG: "chat strong", Role.PRM: "score prm"}
    assert {span.name for span in calls} == set(names.values())
    assert len(of(Role.PRM)) == trim["usage"]["prm"]["calls"]
    # A draft that was being written when another was rejected has no span that ended well, but its tokens count.
    written = sum(call.get("gen_ai.usage.output_tokens", 0) for call in of(Role.STRONG))
    assert 0 < written <= trim["usage"]["strong"]["completion_tokens"]
    assert {call["gen_ai.operation.name"] for call in of(Role.PRM)} == {"score"}


def test_attribute_names_are_those_of_the_conventions() -> None:
    conventions = pytest.importorskip(
        "opentelemetry.semconv._incubating.attributes.gen_ai_attributes",
        reason="opentelemetry-semantic-conventions is not installed",
    )
    known = {value for name, value in vars(conventions).items() if name.startswith("GEN_AI_")}
    folder = Path(trim.server.__path__[0])
    used = {name for path in folder.glob("*.py") for name in re.findall(r'"(gen_ai\.[a-z_.]+)"', path.read_text())}
    assert len(used) > 10
    assert used <= known
