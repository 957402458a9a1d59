"""Results as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from trim.evals.metrics import OperatingPoint, point_name
from trim.evals.summary import Figure, Summary


def table(points: Sequence[OperatingPoint], title: str, currency: str = "$") -> Table:
    """One row an operating point; tokens and cost per question."""
    made = Table(title=Text(title), title_justify="left", header_style="bold")
    made.add_column("policy", no_wrap=True)
    for name in ("accuracy", "95% in", "strong share", "gap closed", "strong tokens", f"{currency} per 1,000"):
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
    """One row a policy: CPT in percent of the strong model's tokens, delta-IBC, APGR, the bill for a correct answer."""
    made = Table(title="each policy's curve, with 95% intervals", title_justify="left", header_style="bold")
    made.add_column("policy", no_wrap=True)
    for name in ("CPT50", "CPT80", "CPT95", "APGR", "delta-IBC", "best", f"{currency} per 1,000 correct"):
        made.add_column(name, justify="right")
    for s in summaries:
        made.add_row(
            s.policy,
            *(percent(s.cpt[level]) for level in (50, 80, 95)),
            number(s.apgr),
            number(s.delta_ibc),
            number(s.delta_ibc_best),
            "not reached" if s.cost_per_correct.value is None else f"{1000 * s.cost_per_correct.value:.3f}",
        )
    return made


def percent(figure: Figure) -> str:
    """`18.2% (15-21)`; an interval without an upper end says that some resamples did not reach it."""
    if figure.value is None:
        return "not reached"
    low, high = (f"{100 * end:.0f}" if end is not None else "none" for end in (figure.low, figure.high))
    return f"{figure.value:.1%} ({low}-{high})"


def number(figure: Figure) -> str:
    """`5.67 (4.1 to 6.9)`."""
    if figure.value is None:
        return "none"
    low, high = (f"{end:.2g}" if end is not None else "none" for end in (figure.low, figure.high))
    return f"{figure.value:.2f} ({low} to {high})"
