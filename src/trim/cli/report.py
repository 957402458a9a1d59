"""`trim report`: the report of a run made again, or two runs compared."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

_DESCRIPTION = """\
One folder of trim eval: writes results.json, frontier.png and report.html
again, from its traces. Two: says which differences between them are
significant.

example:
  trim report trim-eval-monday trim-eval-tuesday
"""


def register(report: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    report.description = _DESCRIPTION
    report.add_argument("folder", type=Path, metavar="DIR")
    report.add_argument("other", type=Path, nargs="?", metavar="DIR2", help="a run over the same questions")
    report.add_argument("--json", action="store_true", help="print the comparison as JSON")
    report.set_defaults(run=_report)


async def _report(args: argparse.Namespace) -> int:
    from trim.experiments.run import Run, compare_folders
    from trim.reporting.console import console
    from trim.reporting.run_report import write_run
    from trim.reporting.tables import differences_table

    if args.other is None:
        run = Run.open(args.folder)
        write_run(run)
        print(f"Look at it: {(run.folder / 'report.html').resolve()}")
        return 0
    found = compare_folders(args.folder, args.other)
    if args.json:
        print(json.dumps([row.to_json() for row in found], indent=1))
        return 0
    console().print(differences_table(found))
    significant = [row.name for row in found if row.significant]
    print(f"Significant at the 5% level: {', '.join(significant) or 'nothing'}.")
    return 0
