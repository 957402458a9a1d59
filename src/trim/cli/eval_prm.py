"""`trim eval-prm`: how good a process reward model is on solutions whose first wrong step is known."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from trim.cli.options import config_option, configured, count
from trim.cli.run_options import bar_of, preview_words, run_options
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.experiments.judge_evaluation import judge_prices, judging_preview, recalibrate, score_solutions, with_judge
from trim.experiments.labelled_solutions import labelled_solutions
from trim.experiments.spend_limit import limited
from trim.metrics.judge_quality import Judged, quality
from trim.reporting.console import console
from trim.reporting.tables import quality_table, scorers_table

_DESCRIPTION = """\
Scores solutions whose first wrong step is known: ProcessBench's F1, AUROC,
calibration, seconds per step.

examples:
  trim eval-prm processbench-math.jsonl --config trim.toml
  trim eval-prm trim-eval --solutions 300 \\
      --scorers embedded,likelihood,log-probability,entropy
  trim eval-prm trim-eval --solutions 300 --recalibrate isotonic \\
      --out curve.json
"""


def register(judge: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    judge.description = _DESCRIPTION
    judge.add_argument(
        "data", type=Path, help="ProcessBench-format JSONL, or a folder of trim eval whose task has a rule for steps"
    )
    config_option(judge, "whose [prm] (default: ./trim.toml if there is one, else the embedded one)")
    judge.add_argument(
        "--scorers",
        metavar="BACKEND[=MODEL],...",
        help="compare these instead of [prm] backend, at its address or of the shipped models, in one table, such as "
        "embedded,likelihood,likelihood=weak,log-probability,entropy=strong",
    )
    judge.add_argument("--threshold", type=float, default=0.5, help="below it a step counts as wrong (default: 0.5)")
    judge.add_argument("--solutions", type=count, default=1_000, help="use only the first N (default: 1000)")
    judge.add_argument(
        "--recalibrate", choices=("isotonic", "temperature"), help="fit a curve that calibrates the scores, into --out"
    )
    judge.add_argument("--out", type=Path, metavar="FILE.json", help="for the curve: [prm] recalibration = FILE.json")
    judge.add_argument("--json", action="store_true", help="print all figures as JSON")
    run_options(judge)
    judge.set_defaults(run=_judge)


async def _judge(args: argparse.Namespace) -> int:
    if (args.recalibrate is None) != (args.out is None):
        raise ConfigError("--recalibrate and --out go together")
    if args.scorers and args.recalibrate:
        raise ConfigError("--scorers compares; recalibrate one scorer at a time")
    if not 0.0 <= args.threshold <= 1.0:
        raise ConfigError(f"--threshold must lie in [0, 1], not {args.threshold}")
    config, solutions = configured(args), labelled_solutions(args.data)[: args.solutions]
    names = [name.strip() for name in args.scorers.split(",")] if args.scorers else []
    judges = {name: with_judge(config, name) for name in names} or {"": config}
    if args.dry_run:
        print(preview_words(judging_preview([*judges.values()], solutions)))
        return 0
    with bar_of(args)(len(judges) * len(solutions)) as advance, ExitStack() as stack:
        # All of them together have one limit.
        limits = [stack.enter_context(limited(judge_prices(one), args.max_cost)) for one in judges.values()]
        scored = {
            name: await score_solutions(one, solutions, limit=limits[0], progress=advance)
            for name, one in judges.items()
        }
    try:
        if names:
            _compare(scored, args)
        else:
            _one(config, scored[""], args)
    except ValueError as error:
        raise ConfigError(f"{args.data}: {error}") from None
    return 0


def _one(config: Config, judged: Sequence[Judged], args: argparse.Namespace) -> None:
    """The configured judge, and a curve for it where one is wanted."""
    found = quality(judged, args.threshold)
    if args.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        console().print(quality_table(found, f"{identities(config)['prm']} on {args.data.name}"))
    if args.recalibrate:
        made = recalibrate(judged, args.recalibrate)
        made.curve.save(args.out)
        print(
            f"calibration error on held-out solutions: {made.before:.3f}, through the curve {made.after:.3f}; "
            f"use it: [prm] recalibration = {str(args.out)!r}",
            file=sys.stderr if args.json else sys.stdout,
        )


def _compare(scored: Mapping[str, Sequence[Judged]], args: argparse.Namespace) -> None:
    """Several judges in one table."""
    found = {name: quality(judged, args.threshold) for name, judged in scored.items()}
    if args.json:
        print(json.dumps({name: asdict(figures) for name, figures in found.items()}, indent=1))
    else:
        console().print(scorers_table(found, args.data.name))
