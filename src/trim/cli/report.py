"""`trim report`: the report of a run made anew, or two runs compared."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from trim.cli.options import Commands
from trim.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from trim.experiments.run import Run
    from trim.metrics.run_comparison import Compared


def register(commands: Commands) -> None:
    """Add the command."""
    report = commands.add_parser(
        "report",
        help="make a run's report anew, or compare two runs",
        description="One folder of trim eval: writes results.json, frontier.png and report.html anew from its traces.\n"
        "Two: says which differences between them are significant.\n\nexample:\n"
        "  trim report trim-eval-monday trim-eval-tuesday",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("folder", type=Path, metavar="DIR")
    report.add_argument("other", type=Path, nargs="?", metavar="DIR2", help="a run over the same questions")
    report.add_argument("--json", action="store_true", help="print the comparison as JSON")
    report.set_defaults(run=_report)


async def _report(args: argparse.Namespace) -> int:
    from trim.reporting.console import console

    first = _open(args.folder)
    if args.other is None:
        write(first)
        print(f"Look at it: {(first.folder / 'report.html').resolve()}")
        return 0
    from trim.metrics.run_comparison import compare_runs

    second = _open(args.other)
    try:
        found = compare_runs(first.tallies, second.tallies)
    except ValueError as error:
        raise ConfigError(f"{args.folder} and {args.other}: {error}") from None
    if args.json:
        print(json.dumps([row.to_json() for row in found], indent=1))
        return 0
    console().print(_table(found))
    significant = [row.name for row in found if row.significant]
    print(f"Significant at the 5% level: {', '.join(significant) or 'nothing'}.")
    return 0


def write(run: Run) -> None:
    """Everything that is made from a run's traces."""
    from trim.reporting.frontier_plot import frontier, save
    from trim.reporting.report_page import write_report

    run.write_results()
    title = f"{run.settings.task}, {run.settings.size}"
    save(frontier(run.operating_points(), title), run.folder / "frontier.png")
    write_report(run)


def _open(folder: Path) -> Run:
    from trim.experiments.run import Run, Settings

    if not (folder / "traces.jsonl").is_file():
        raise ConfigError(f"{folder} has no traces.jsonl: it is no folder of trim eval")
    return Run(folder, Settings.read(folder), resume=True)


def _table(found: list[Compared]) -> Table:
    from rich.table import Table

    made = Table(title="accuracy of the first run less that of the second, in points", title_justify="left")
    for name, justify in (("", "left"), ("difference", "right"), ("95% interval", "right"), ("questions", "right")):
        made.add_column(name, justify=justify)  # type: ignore[arg-type]
    made.add_column("significant")
    for row in found:
        d = row.difference
        interval = f"{100 * d.low:+.1f} to {100 * d.high:+.1f}"
        verdict = "yes" if row.significant else ""
        made.add_row(row.name, f"{100 * d.value:+.1f}", interval, str(d.count), verdict)
    return made
