"""`trim record`: everything that weak, strong and PRM say for any threshold; `trim eval --replay` uses it."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from trim.backends.replay_cache import FILE
from trim.cli.options import Commands
from trim.config.loading import load_config
from trim.errors import ConfigError
from trim.experiments.recording import RecordSettings, explore, open_recording
from trim.seeding import sample_seeds


def register(commands: Commands) -> None:
    """Add the command."""
    record = commands.add_parser(
        "record",
        help="record solutions and continuations, to evaluate without models",
        description="Records whole solutions of both models and the steps and scores that any threshold comes by.\n"
        "Goes on where it was interrupted.\n\nexample:\n"
        "  trim record --task gsm_symbolic --questions 500 --out recorded\n"
        "  trim eval --replay recorded --policies always-weak,always-strong,threshold,prm-cascade,take-over --out t",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    record.add_argument("--task", default="gsm_symbolic", help="as for trim eval")
    record.add_argument("--questions", type=int, default=200)
    record.add_argument("--seed", type=int, default=900_000)
    record.add_argument("--samples", type=int, default=1, help="solutions of each question, as for trim eval")
    record.add_argument("--out", type=Path, required=True, metavar="DIR")
    record.add_argument("--config", type=Path, metavar="trim.toml", help="models (default: the embedded pair)")
    record.set_defaults(run=_record)


async def _record(args: argparse.Namespace) -> int:
    from trim.reporting.console import progress
    from trim.tasks import load_task

    if args.questions < 1 or args.samples < 1:
        raise ConfigError("--questions and --samples must be at least 1")
    task = load_task(args.task)
    config = load_config(args.config).instructed(task.instruction)
    about = RecordSettings(args.task, args.questions, args.seed, config.names(), args.samples)
    questions = iter(task.stream(args.questions, args.seed))
    async with open_recording(config, args.out, about) as backends:
        with progress(args.questions) as advance:

            async def worker() -> None:
                for question in questions:
                    for seed in sample_seeds(args.seed, args.samples):
                        await explore(backends, question, seed)
                    advance("recorded")

            await asyncio.gather(*(worker() for _ in range(min(16, args.questions))))
    with (args.out / FILE).open("rb") as lines:
        print(f"{sum(1 for _ in lines)} steps and scores of {args.questions} questions: {args.out / FILE}")
    task.close()
    return 0
