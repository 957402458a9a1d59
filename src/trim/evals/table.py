"""Results as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from trim.evals.metrics import OperatingPoint


def table(points: Sequence[OperatingPoint], title: str, currency: str = "$") -> Table:
    """One row an operating point; tokens and cost per question."""
    made = Table(title=title, title_justify="left", header_style="bold")
    made.add_column("policy")
    for name in ("parameter", "accuracy", "95% interval", "strong share", "gap recovered", "strong tok", "weak tok"):
        made.add_column(name, justify="right")
    made.add_column(f"{currency} per 1,000", justify="right")
    for p in points:
        low, high = p.accuracy_interval
        made.add_row(
            p.policy,
            "" if p.parameter is None else f"{p.parameter:g}",
            f"{p.accuracy:.1%}",
            f"{low:.1%} - {high:.1%}",
            "" if p.strong_share is None else f"{p.strong_share:.0%}",
            "" if p.pgr is None else f"{p.pgr:.0%}",
            f"{p.strong_tokens:.1f}",
            f"{p.weak_tokens:.1f}",
            f"{1000 * p.cost:.4f}",
            style="bold" if p.pgr is not None and p.pgr >= 0.95 and p.policy not in ("always-strong",) else None,
        )
    return made
