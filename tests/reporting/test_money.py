"""Costs as they are shown."""

from __future__ import annotations

from math import inf, nan

import pytest

from trim.reporting.money import amount_of, dollars


@pytest.mark.parametrize(
    ("cost", "shown", "in_a_column"),
    [
        (None, "unknown", "unknown"),
        (nan, "unknown", "unknown"),
        (inf, "unknown", "unknown"),
        (0.0, "$0.00", "0.000"),  # an explicit price of 0 is a price
        (0.00001234, "$0.0000123", "0.0000123"),
        (0.5, "$0.500", "0.500"),
        (1.5, "$1.50", "1.500"),
        (12345.6, "$12,345.60", "12,346"),
    ],
)
def test_a_cost_is_in_dollars_or_unknown(cost: float | None, shown: str, in_a_column: str) -> None:
    assert (dollars(cost), amount_of(cost)) == (shown, in_a_column)
