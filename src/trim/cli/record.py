"""`trim record`: everything that weak, strong and PRM say for any threshold; `trim eval --replay` uses it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trim.cli.options import DEMO_SEED, accept_option, config_option, configured, count
from trim.cli.run_options import bar_of, preview_words, run_options

_DESCRIPTION = """\
Records whole solutions of both models and the steps and scores that any
threshold comes by, taking over included. Continues where it was interrupted.

example:
  trim record --task gsm_symbolic --questions 500 --out recorded
  trim eval --replay recorded --out replayed \\
      --policies always-weak,always-strong,threshold,prm-cascade,take-over
"""


def register(record: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    record.description = _DESCRIPTION
    record.add_argument("--task", default="gsm_symbolic", help="as for trim eval")
    record.add_argument("--questions", type=count, help="as for trim eval")
    record.add_argument("--seed", type=int, default=DEMO_SEED)
    record.add_argument("--samples", type=count, default=1, help="solutions of each question, as for trim eval")
    record.add_argument("--out", type=Path, required=True, metavar="DIR")
    accept_option(record)
    run_options(record)
    config_option(record)
    record.set_defaults(run=_record)


async def _record(args: argparse.Namespace) -> int:
    from trim.config.resolution import resolve
    from trim.experiments.recording import RecordSettings, record, record_preview
    from trim.experiments.spend_limit import limited
    from trim.tasks import default_count

    config, questions = configured(args), args.questions or default_count(args.task)
    about = RecordSettings.of(config, args.task, questions, args.seed, args.samples)
    if args.dry_run:
        print(preview_words(record_preview(config, about)))
        return 0
    with limited(resolve(config).prices, args.max_cost, args.out) as limit:
        file = await record(config, args.out, about, accept=args.accept, bar=bar_of(args), limit=limit)
    with file.open("rb") as lines:
        print(f"{sum(1 for _ in lines)} steps and scores of {questions} questions: {file}")
    if limit is not None and limit.reached:
        print(f"trim: {limit.words}; the same command with a higher one goes on", file=sys.stderr)
        return 2
    return 0
