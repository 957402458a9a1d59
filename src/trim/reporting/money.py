"""Costs as they are shown: in dollars, and `unknown` where a price is missing."""

from __future__ import annotations

from math import floor, isfinite, log10

UNKNOWN = "unknown"


def dollars(cost: float | None) -> str:
    """A cost with its unit, such as `$12.35` or `$0.00123`."""
    if cost is None or not isfinite(cost):
        return UNKNOWN
    return f"${cost:,.2f}" if cost >= 1 or cost <= 0 else f"${_three_digits(cost)}"


def amount_of(cost: float | None) -> str:
    """A cost in a column whose heading has the unit, such as `1.234`, `0.000123` or `12,346`."""
    if cost is None or not isfinite(cost):
        return UNKNOWN
    if cost >= 1000:
        return f"{cost:,.0f}"
    return f"{cost:.3f}" if cost >= 0.001 or cost <= 0 else _three_digits(cost)


def _three_digits(cost: float) -> str:
    """Of an amount below 1, the three digits that count."""
    return f"{cost:.{2 - floor(log10(cost))}f}"
