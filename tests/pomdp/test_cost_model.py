"""The cost model on simulated traces whose prices are known."""

from __future__ import annotations

import pytest

from tests.pomdp.fit.recorded import record
from trim.errors import ConfigError, TraceError
from trim.policies import RandomSteps
from trim.pomdp.cost_model import CostModel, measure_cost_model
from trim.types import Price, Prices, Role


def test_costs_per_draft_and_per_strong_step_are_recovered() -> None:
    """A draft has 40 tokens at a twentieth of the strong model's price; a strong step a prompt of 8 at a quarter."""
    traces = record(RandomSteps(0.5, resamples=1), 200)
    for trace in traces:
        usage = trace.usage[Role.STRONG]
        usage.prompt_tokens = 8 * usage.calls
    costs = measure_cost_model(traces, Prices(Price(0, 1), Price(5, 20), Price(0)))
    assert costs.per_draft == pytest.approx(2.0, abs=0.1)
    assert costs.per_strong_step == pytest.approx(2.0, abs=0.1)


def test_prices_and_traces_are_required() -> None:
    with pytest.raises(ConfigError, match=r"strong\.prices"):
        measure_cost_model([], Prices())
    with pytest.raises(ConfigError, match=r"\[weak.prices\] prompt is not set"):
        measure_cost_model(record(RandomSteps(0.5), 3), Prices(strong=Price(0, 1)))
    with pytest.raises(TraceError, match="0 traces"):
        measure_cost_model([], Prices(strong=Price(0, 1)))
    with pytest.raises(ConfigError, match="negative"):
        CostModel(-1.0)
