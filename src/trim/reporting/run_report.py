"""Everything that is made from a run's traces: results.json, frontier.png, report.html, and tables in the terminal."""

from __future__ import annotations

from trim.experiments.run import Run
from trim.reporting.console import console
from trim.reporting.frontier_plot import frontier
from trim.reporting.png import write_png
from trim.reporting.report_page import foreign_note, headline, write_report
from trim.reporting.tables import points_table, summary_table


def write_run(run: Run) -> None:
    """Write the files into the run's folder."""
    run.write_results()
    write_png(
        frontier(run.operating_points(), f"{run.settings.title}, {run.settings.size}"), run.folder / "frontier.png"
    )
    write_report(run)


def print_run(run: Run) -> None:
    """Print the tables, and where to look."""
    screen = console()
    points = run.operating_points()
    screen.print(points_table(points, f"{run.settings.title}, {run.settings.size}, means per question"))
    if summaries := run.summaries():
        screen.print(summary_table(summaries))
    if words := headline(points):
        screen.print(f"[bold]{words}[/bold]")
    if failed := sum(p.fallbacks for p in points):
        print(f"{failed} solutions used a fallback because a model failed (see on_error); the report marks them")
    if note := foreign_note(run):
        print(note)
    if run.failures:
        print(run.failures)
    print(f"Look at it: {(run.folder / 'report.html').resolve()}")
