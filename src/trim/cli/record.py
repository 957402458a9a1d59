"""`trim record`: everything that weak, strong and PRM say for any threshold; `trim eval --replay` uses it."""

from __future__ import annotations

import argparse
from pathlib import Path

from trim.config.specs import identities
from trim.errors import ConfigError

_DESCRIPTION = """\
Records whole solutions of both models and the steps and scores that any threshold comes by. Goes on where it was
interrupted.

example:
  trim record --task gsm_symbolic --questions 500 --out recorded
  trim eval --replay recorded --policies always-weak,always-strong,threshold,prm-cascade,take-over --out t
"""


def register(record: argparse.ArgumentParser) -> None:
    """Describe the command."""
    record.description = _DESCRIPTION
    record.add_argument("--task", default="gsm_symbolic", help="as for trim eval")
    record.add_argument("--questions", type=int, default=200)
    record.add_argument("--seed", type=int, default=900_000)
    record.add_argument("--samples", type=int, default=1, help="solutions of each question, as for trim eval")
    record.add_argument("--out", type=Path, required=True, metavar="DIR")
    record.add_argument("--config", type=Path, metavar="trim.toml", help="models (default: the embedded pair)")
    record.set_defaults(run=_record)


async def _record(args: argparse.Namespace) -> int:
    from trim.config.loading import load_config
    from trim.experiments.recording import RecordSettings, record
    from trim.reporting.console import progress

    if args.questions < 1 or args.samples < 1:
        raise ConfigError("--questions and --samples must be at least 1")
    config = load_config(args.config)
    about = RecordSettings(args.task, args.questions, args.seed, identities(config), args.samples)
    file = await record(config, args.out, about, bar=progress)
    with file.open("rb") as lines:
        print(f"{sum(1 for _ in lines)} steps and scores of {args.questions} questions: {file}")
    return 0
