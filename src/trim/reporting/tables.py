"""Results as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from rich.table import Table
from rich.text import Text

from trim.metrics.curve_summary import Summary
from trim.metrics.operating_point import OperatingPoint, point_name


def table(points: Sequence[OperatingPoint], title: str, currency: str = "$") -> Table:
    """One row an operating point; tokens and cost per question."""
    made = Table(title=Text(title), title_justify="left", header_style="bold")
    made.add_column("policy", no_wrap=True)
    for name in ("accuracy", "95% CI", "strong share", "gap recovered", "strong tokens", f"{currency} per 1,000"):
        made.add_column(name, justify="right")
    for p in points:
        low, high = p.accuracy_interval
        made.add_row(
            point_name(p.policy, p.parameter),
            f"{p.accuracy:.1%}",
            f"{100 * low:.0f}-{100 * high:.0f}%",
            "" if p.strong_share is None else f"{p.strong_share:.0%}",
            "" if p.pgr is None else f"{p.pgr:.0%}",
            f"{p.strong_tokens:.1f}",
            f"{1000 * p.cost:.3f}",
            style="bold" if p.pgr is not None and p.pgr >= 0.95 and p.policy != "always-strong" else None,
        )
    return made


def summary_table(summaries: Sequence[Summary], currency: str = "$") -> Table:
    """One row a policy: CPT in percent of the strong model's tokens, APGR, delta-IBC, the cost of correct answers."""
    made = Table(title="summary of each policy (none: not reached)", title_justify="left", header_style="bold")
    made.add_column("policy", no_wrap=True)
    for name in ("CPT50", "CPT80", "CPT95", "95% CI", "APGR", "delta-IBC", "best", f"{currency} per 1,000 right"):
        made.add_column(name, justify="right", overflow="fold")
    for s in summaries:
        made.add_row(
            s.policy,
            *(_written(s.cpt[level].value, "%") for level in (50, 80, 95)),
            _interval(s.cpt[95].low, s.cpt[95].high),
            *(_written(figure.value) for figure in (s.apgr, s.delta_ibc, s.delta_ibc_best)),
            _written(1000 * s.cost_per_correct.value, digits=3),
        )
    return made


def _interval(low: float, high: float) -> str:
    """Both ends in whole percent; an end may not be reached."""
    if not isfinite(low):
        return "none"
    return f"{100 * low:.0f}-{100 * high:.0f}%" if isfinite(high) else f">{100 * low:.0f}%"


def _written(value: float, unit: str = "", digits: int = 2) -> str:
    if not isfinite(value):
        return "none"
    return f"{value:.1%}" if unit else f"{value:.{digits}f}"
