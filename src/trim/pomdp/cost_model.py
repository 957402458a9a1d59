"""What a solution costs besides the strong model's completion tokens, so that a plan can mind the full bill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from trim.errors import ConfigError, TraceError
from trim.types import Price, Prices, Role, Trace


@dataclass(frozen=True)
class CostModel:
    """What is paid besides the strong model's completion tokens, counted in such tokens; zeros are the paper's metric.

    Args:
        draft: of one draft and its score.
        rewrite: of REGENERATE, for prompts.

    Raises:
        ConfigError: a negative number.
    """

    draft: float = 0.0
    rewrite: float = 0.0

    def __post_init__(self) -> None:
        if not (self.draft >= 0 and self.rewrite >= 0):
            raise ConfigError(f"pomdp: a bill must not be negative: {self}")


def measure_cost_model(traces: Iterable[Trace], prices: Prices) -> CostModel:
    """Least squares of the rest of the bill on the drafts and strong calls of each solution.

    Args:
        traces: in which both vary, such as those of random steps.
        prices: of the three roles.

    Raises:
        ConfigError: the strong model's completion tokens have no price.
        TraceError: fewer than three traces.
    """
    if not prices.strong.completion > 0:
        raise ConfigError("a bill needs a price of the strong model's completion tokens: [strong.prices] completion")
    rest = Prices(prices.weak, Price(prices.strong.prompt, 0.0, prices.strong.cached), prices.prm)
    rows = [
        (1, sum(len(d.drafts) for d in trace.decisions), trace.usage[Role.STRONG].calls, rest.of(trace.usage))
        for trace in traces
    ]
    if len(rows) < 3:
        raise TraceError(f"a bill cannot be measured on {len(rows)} traces")
    table = np.array(rows, float)
    _, draft, rewrite = np.linalg.lstsq(table[:, :3], table[:, 3] * 1e6 / prices.strong.completion)[0]
    return CostModel(max(float(draft), 0.0), max(float(rewrite), 0.0))
