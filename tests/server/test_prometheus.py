"""The metrics after some requests."""

from __future__ import annotations

from pathlib import Path

from tests.server.gateway import ask, serving, simulated


def test_metrics(tmp_path: Path) -> None:
    with serving(simulated()) as served:
        trim = served.post(ask("hard 7", seed=5)).json()["trim"]
        served.post(ask(temperature=3))
        text = served.get("/metrics").text
    strong = trim["usage"]["strong"]["completion_tokens"]
    assert f'trim_tokens_total{{kind="completion",role="strong"}} {strong:.1f}' in text
    assert 'trim_requests_rejected_total{status="400"} 1.0' in text
    assert 'trim_requests_total{policy="threshold",status="ok"} 1.0' in text
    assert f"trim_cost_total {trim['cost']}" in text
    roles = [step["role"] for step in trim["steps"]]
    assert f'trim_steps_total{{role="weak"}} {roles.count("weak"):.1f}' in text
