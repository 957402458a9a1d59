"""Options of commands that run models for long, and what they print while they do."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from trim.cli.options import money

if TYPE_CHECKING:
    from trim.experiments.preview import Preview
    from trim.experiments.run import Outlook, ProgressBar


def quiet_option(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="no progress and no estimates on standard error")


def dry_run_option(parser: argparse.ArgumentParser) -> None:
    """Add `--dry-run`."""
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would run, how long and at what cost, and ask no server"
    )


def run_options(parser: argparse.ArgumentParser) -> None:
    """Add `--dry-run`, `--max-cost` and `--quiet`."""
    dry_run_option(parser)
    parser.add_argument(
        "--max-cost",
        type=money,
        metavar="X",
        help="hard limit: the run never costs more than X dollars; --resume goes on",
    )
    quiet_option(parser)


def bar_of(args: argparse.Namespace) -> ProgressBar:
    """The progress bar that was asked for."""
    from trim.experiments.run import no_bar
    from trim.reporting.console import progress

    return no_bar if args.quiet else progress


def announce(args: argparse.Namespace, outlook: Outlook) -> None:
    """Say what is ahead, on standard error."""
    from trim.reporting.console import duration
    from trim.reporting.money import dollars

    if args.quiet:
        return
    cost = "cost unknown: a price is missing" if outlook.cost is None else f"about {dollars(outlook.cost)}"
    print(
        f"trim: {outlook.solutions:,} solutions to go at {outlook.points} operating points: about "
        f"{duration(outlook.seconds)}, {cost} (by the speed of the first ones)",
        file=sys.stderr,
    )


def _parts(found: Preview) -> str:
    samples = f" x {found.samples} samples" if found.samples > 1 else ""
    return f"{found.points} operating points x {found.questions:,} questions{samples}"


def without_models(task: str) -> str:
    """What `--dry-run` prints where no model has anything to do."""
    return f"would {task}; no model is asked, and nothing costs money\nNothing was written."


def preview_words(found: Preview) -> str:
    """What `--dry-run` prints."""
    from trim.reporting.console import duration
    from trim.reporting.money import dollars

    lines = [
        f"would make {found.to_go:,} {found.things} ({found.done:,} are there): {found.parts or _parts(found)}",
        *found.models,
    ]
    if found.calls is not None:
        by = f" (estimated by the {found.measured:,} that are there)" if found.measured else ""
        lines.append(f"model calls: about {found.calls:,.0f}{by}")
    else:
        lines.append(f"model calls: at least {found.to_go:,}; how many is known from the first answers on")
    time = "known once the first are made" if found.seconds is None else f"about {duration(found.seconds)}"
    cost = f"unknown: {found.unpriced} is not set" if found.unpriced else "known once the first are made"
    lines.append(f"time: {time}")
    lines.append(f"cost: {cost if found.cost is None else f'about {dollars(found.cost)}'}")
    return "\n".join([*lines, "Nothing was asked and nothing was written."])
