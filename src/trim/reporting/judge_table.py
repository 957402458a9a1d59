"""Figures of process reward models and judges as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from trim.metrics.judge_quality import Quality


def comparison_table(found: Mapping[str, Quality], data: str) -> Table:
    """Several judges on the same solutions, one row each."""
    one = next(iter(found.values()))
    title = f"scorers on {data}: {one.solutions} solutions, {one.steps} steps up to their first wrong one"
    made = Table(title=Text(title), title_justify="left", header_style="bold")
    made.add_column("scorer", no_wrap=True)
    for name in ("AUROC", "95% CI", f"F1 at {one.threshold:g}", "best F1", "at", "calibration error", "ms a step"):
        made.add_column(name, justify="right")
    for scorer, q in found.items():
        made.add_row(
            scorer,
            f"{q.auroc.value:.3f}",
            f"{q.auroc.low:.3f} to {q.auroc.high:.3f}",
            f"{q.f1.value:.3f}",
            f"{q.best_f1:.3f}",
            f"{q.best_threshold:g}",
            f"{q.calibration_error:.3f}",
            f"{1000 * q.seconds_per_step:.1f}",
        )
    return made


def quality_table(found: Quality, title: str) -> Table:
    """All figures of one judge, one row each."""
    made = Table(title=Text(title), title_justify="left", header_style="bold")
    made.add_column("figure")
    made.add_column("value", justify="right")
    made.add_column("95% CI", justify="right")
    for name, estimate in (
        (f"F1 at {found.threshold:g}", found.f1),
        ("first wrong step named", found.erroneous),
        ("correct solutions left alone", found.correct),
        ("AUROC of steps", found.auroc),
    ):
        made.add_row(name, f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}")
    made.add_row("first wrong step or a neighbour named", f"{found.near:.3f}", "")
    made.add_row(f"best F1, at {found.best_threshold:g}", f"{found.best_f1:.3f}", "")
    made.add_row("calibration error", f"{found.calibration_error:.3f}", "")
    made.add_row("milliseconds a step", f"{1000 * found.seconds_per_step:.1f}", "")
    for tenth in found.bins:
        made.add_row(f"  scores around {tenth.score:.2f}: right", f"{tenth.right:.3f}", f"{tenth.count} steps")
    made.caption = f"{found.solutions} solutions, {found.steps} steps up to their first wrong one"
    return made
