"""Two runs side by side as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from trim.metrics.run_comparison import Compared


def comparison_table(rows: Sequence[Compared]) -> Table:
    """One row a difference, in percentage points with its 95% confidence interval."""
    made = Table(title="accuracy of the first run less that of the second, in percentage points", title_justify="left")
    made.add_column("")
    for name in ("difference", "95% CI", "questions"):
        made.add_column(name, justify="right")
    made.add_column("significant")
    for row in rows:
        d = row.difference
        interval = f"{100 * d.low:+.1f} to {100 * d.high:+.1f}"
        made.add_row(row.name, f"{100 * d.value:+.1f}", interval, str(d.count), "yes" if row.significant else "")
    return made
