"""The rest of the bill on simulated traces whose prices are known."""

from __future__ import annotations

import pytest

from tests.pomdp.fit.recorded import record
from trim.errors import ConfigError, TraceError
from trim.policies import RandomSteps
from trim.pomdp.cost_model import CostModel, measure_cost_model
from trim.types import Price, Prices, Role


def test_a_draft_and_a_rewrite_are_told_apart() -> None:
    """A draft has 40 tokens at a twentieth of the strong model's price; a rewrite reads a prompt at a quarter of it."""
    traces = record(RandomSteps(0.5, resamples=1), 200)
    for trace in traces:
        usage = trace.usage[Role.STRONG]
        usage.prompt_tokens = 8 * usage.calls
    bill = measure_cost_model(traces, Prices(Price(0, 1), Price(5, 20)))
    assert bill.draft == pytest.approx(2.0, abs=0.1)
    assert bill.rewrite == pytest.approx(2.0, abs=0.1)


def test_without_a_price_there_is_no_bill() -> None:
    with pytest.raises(ConfigError, match=r"strong\.prices"):
        measure_cost_model([], Prices())
    with pytest.raises(TraceError, match="0 traces"):
        measure_cost_model([], Prices(strong=Price(0, 1)))
    with pytest.raises(ConfigError, match="negative"):
        CostModel(-1.0)
