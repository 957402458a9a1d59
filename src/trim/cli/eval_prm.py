"""`trim eval-prm`: how good a process reward model is on solutions whose first wrong step is known."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from trim.cli.options import count, judge_option
from trim.config.loading import load_config
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.experiments.judge_evaluation import recalibrate, score_solutions, with_judge
from trim.experiments.labelled_solutions import LabelledSolution, labelled_solutions
from trim.metrics.judge_quality import quality
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
    judge.add_argument("--config", type=Path, metavar="trim.toml", help="whose [prm] (default: the embedded one)")
    judge_option(judge)
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
    judge.set_defaults(run=_judge)


async def _judge(args: argparse.Namespace) -> int:
    if (args.recalibrate is None) != (args.out is None):
        raise ConfigError("--recalibrate and --out go together")
    if args.scorers and args.recalibrate:
        raise ConfigError("--scorers compares; recalibrate one scorer at a time")
    if not 0.0 <= args.threshold <= 1.0:
        raise ConfigError(f"--threshold must lie in [0, 1], not {args.threshold}")
    config, solutions = (
        load_config(args.config, models={"judge": args.judge}),
        labelled_solutions(args.data)[: args.solutions],
    )
    try:
        await (_compare if args.scorers else _one)(config, solutions, args)
    except ValueError as error:
        raise ConfigError(f"{args.data}: {error}") from None
    return 0


async def _one(config: Config, solutions: Sequence[LabelledSolution], args: argparse.Namespace) -> None:
    """The configured judge, and a curve for it where one is wanted."""
    judged = await score_solutions(config, solutions)
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


async def _compare(config: Config, solutions: Sequence[LabelledSolution], args: argparse.Namespace) -> None:
    """Several judges in one table."""
    chosen = {name: with_judge(config, name) for name in map(str.strip, args.scorers.split(","))}
    found = {name: quality(await score_solutions(one, solutions), args.threshold) for name, one in chosen.items()}
    if args.json:
        print(json.dumps({name: asdict(figures) for name, figures in found.items()}, indent=1))
    else:
        console().print(scorers_table(found, args.data.name))
