"""Costs whose prices are all known."""

from __future__ import annotations


def dollars(cost: float | None) -> float:
    """The cost, which is known."""
    assert cost is not None
    return cost
