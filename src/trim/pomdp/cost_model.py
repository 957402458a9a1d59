"""The part of a solution's total cost that the strong model's completion tokens do not cover."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from trim.errors import ConfigError, TraceError
from trim.types import Price, Prices, Role, Trace


@dataclass(frozen=True)
class CostModel:
    """Costs besides the strong model's completion tokens, in units of such a token; zeros are the paper's metric.

    Args:
        per_draft: cost of one weak draft and its score: the weak model's tokens and the judge's.
        per_strong_step: cost of one REGENERATE or REVISE besides its completion tokens: its prompt.

    Raises:
        ConfigError: a negative number.
    """

    per_draft: float = 0.0
    per_strong_step: float = 0.0

    def __post_init__(self) -> None:
        if not (self.per_draft >= 0 and self.per_strong_step >= 0):
            raise ConfigError(f"pomdp: costs must not be negative: {self}")


def measure_cost_model(traces: Iterable[Trace], prices: Prices) -> CostModel:
    """Least-squares regression of each solution's remaining cost on its numbers of drafts and of strong calls.

    Args:
        traces: in which both numbers vary, such as those of random steps.
        prices: of the three roles.

    Raises:
        ConfigError: a price is not known, or that of the strong model's completion tokens is 0.
        TraceError: fewer than three traces.
    """
    if not prices.strong.completion:
        raise ConfigError(
            "the total cost needs a price of the strong model's completion tokens: [strong.prices] completion"
        )
    rest = Prices(prices.weak, Price(prices.strong.prompt, 0.0, prices.strong.cached), prices.prm)
    rows = [
        (1, sum(len(d.drafts) for d in trace.decisions), trace.usage[Role.STRONG].calls, rest.of(trace.usage))
        for trace in traces
    ]
    if any(cost is None for *_, cost in rows):
        raise ConfigError(f"the total cost needs every price, and {rest.missing[0]} is not set (0 is a price)")
    if len(rows) < 3:
        raise TraceError(f"costs cannot be estimated from {len(rows)} traces: at least three are needed")
    table = np.array(rows, float)
    _, draft, strong_step = np.linalg.lstsq(table[:, :3], table[:, 3] * 1e6 / prices.strong.completion)[0]
    return CostModel(max(float(draft), 0.0), max(float(strong_step), 0.0))
