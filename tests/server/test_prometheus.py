"""The metrics after some requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.server.gateway import ask, serving, simulated, with_roles
from trim.config.settings import PriceSettings
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


def test_a_cost_without_a_price_is_unknown_everywhere() -> None:
    """The strong model has no price: what it was used for has no cost, and what the weak one did alone has."""
    with serving(with_roles(simulated(recent_requests=True), strong={"prices": PriceSettings()})) as served:
        reply = served.post(ask(model="trim-strong"))
        weak = served.post(ask(model="trim-weak")).json()["trim"]["cost"]
        refused = served.post(ask(trim={"max_cost": 1.0}))
        served.spent(2)
        recent, text = served.get("/v1/trim/recent").json(), served.get("/metrics").text
    assert reply.json()["trim"]["cost"] is None
    assert reply.headers["x-trim-cost"] == "unknown"
    assert weak > 0
    assert (recent["hour"]["cost"], recent["day"]["cost"]) == (None, None)
    assert f"trim_cost_total {weak}" in text
    assert "trim_requests_of_unknown_cost_total 1.0" in text
    assert refused.status_code == 400
    assert "[strong.prices] prompt is not set" in refused.json()["error"]["message"]


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -4])
def test_counters_take_amounts_alone(amount: Any) -> None:
    metrics = Metrics()
    metrics.add_usage({Role.WEAK: Usage(completion_tokens=amount, prompt_tokens=7)}, amount)
    metrics.add_usage({Role.WEAK: Usage(completion_tokens=3)}, 0.5)
    text = metrics.text().decode()
    assert 'trim_tokens_total{kind="completion",role="weak"} 3.0' in text
    assert 'trim_tokens_total{kind="prompt",role="weak"} 7.0' in text
    assert "trim_cost_total 0.5" in text
