"""The metrics after some requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.server.gateway import ask, serving, simulated
from trim.server.prometheus import Metrics
from trim.types import Role, Usage


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


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -4])
def test_counters_take_amounts_alone(amount: Any) -> None:
    metrics = Metrics()
    metrics.add_usage({Role.WEAK: Usage(completion_tokens=amount, prompt_tokens=7)}, amount)
    metrics.add_usage({Role.WEAK: Usage(completion_tokens=3)}, 0.5)
    text = metrics.text().decode()
    assert 'trim_tokens_total{kind="completion",role="weak"} 3.0' in text
    assert 'trim_tokens_total{kind="prompt",role="weak"} 7.0' in text
    assert "trim_cost_total 0.5" in text
