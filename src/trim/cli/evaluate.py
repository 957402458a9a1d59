"""`trim eval`: run policies over questions and compare them."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from trim.cli.options import DEMO_SEED, accept_option, config_option, configured, count, say_judge
from trim.cli.run_options import announce, bar_of, preview_words, run_options
from trim.errors import ConfigError
from trim.policies.registry import listing

_DESCRIPTION = """\
Run policies over questions; writes traces.jsonl, results.json, frontier.png
and report.html. An interrupted run continues with --resume: nothing is lost,
nothing done twice.

examples:
  trim eval --task gsm_symbolic --questions 500 --out trim-eval
  trim eval --task mine.jsonl --policies always-weak,always-strong,threshold \\
      --parameters threshold=0.3,0.6 --config trim.toml --out mine
  trim eval --task gsm8k --weak vllm/small@http://gpu:8001 \\
      --strong vllm/big@http://gpu:8002 --judge vllm/my-prm@http://gpu:8003 \\
      --out trim-eval
"""
_POLICIES = (
    f"comma-separated (default: always-weak,always-strong,random,threshold). {listing()}. Your own: FILE.py:CLASS or "
    "MODULE:CLASS. Options: threshold+2 resamples a draft twice before it asks the strong model, threshold+revise may "
    "have the strong model revise its text; pomdp has both, +snapshot and +takeover"
)


def register(parser: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "--task",
        default="gsm_symbolic",
        help="gsm_symbolic, arithmetic_chain or string_rewriting (:easy, :medium or :hard behind it for one level), "
        "math500, aime, aime24, amc23, olympiadbench, minerva_math, gsm8k, a JSONL file with question and answer, or "
        "your own: FILE.py:NAME or MODULE:NAME",
    )
    parser.add_argument("--policies", default="always-weak,always-strong,random,threshold", help=_POLICIES)
    parser.add_argument(
        "--parameters", action="append", default=[], metavar="POLICY=A,B,...", help="parameters instead of the sweep"
    )
    parser.add_argument("--questions", type=count, help="how many (default: 200, of fewer all, of a JSONL file all)")
    parser.add_argument("--seed", type=int, default=DEMO_SEED, help="of questions and sampling (default: 900000)")
    parser.add_argument(
        "--samples",
        type=count,
        help="solutions of each question at each point, each with a seed of its own (default: 1, or as recorded)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    accept_option(parser)
    parser.add_argument("--score", action="store_true", help="score drafts also where no policy asks (for trim fit)")
    parser.add_argument("--concurrency", type=count, default=64, help="questions at the same time (default: 64)")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="where questions are solved")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="keep every step and score in DIR and request none twice, so that policies share them",
    )
    parser.add_argument("--replay", type=Path, metavar="DIR", help="no models: what trim record wrote for --config")
    parser.add_argument("--workers", type=count, default=2, help="of --engine ray, a CPU each (default: 2)")
    parser.add_argument("--address", help="of a running Ray cluster (default: the environment's, else this machine)")
    parser.add_argument("--json", action="store_true", help="print results.json instead of a table")
    run_options(parser)
    config_option(parser)
    parser.set_defaults(run=_eval, resumable=True)


async def _eval(args: argparse.Namespace) -> int:
    from trim.experiments.evaluation import ClusterOptions, evaluate, preview, replay_plan
    from trim.experiments.recording import RecordSettings
    from trim.experiments.sweep import EvaluationPlan, names
    from trim.reporting.run_report import print_run, write_run
    from trim.tasks import default_count

    if args.record and (args.replay or args.engine == "ray"):
        raise ConfigError("--record needs models, and one process that writes: leave out --replay and --engine ray")
    task = RecordSettings.read(args.replay).task if args.replay else args.task
    plan = EvaluationPlan(
        config=configured(args),
        task=task,
        policies=names(args.policies),
        parameters=tuple(args.parameters),
        questions=args.questions or default_count(task),
        seed=args.seed,
        samples=args.samples or 1,
        score=args.score,
        concurrency=args.concurrency,
        record=args.record,
        accept=args.accept,
    )
    if args.replay:
        plan = replay_plan(plan, args.replay, args.samples)
    say_judge(plan.config)
    cluster = ClusterOptions(args.workers, args.address) if args.engine == "ray" else None
    if args.dry_run:
        print(preview_words(await preview(plan, args.out, resume=args.resume)))
        return 0
    run = await evaluate(
        plan,
        args.out,
        resume=args.resume,
        cluster=cluster,
        bar=bar_of(args),
        announce=partial(announce, args),
        max_cost=args.max_cost,
    )
    if run.torn:
        print(f"trim: {run.torn}", file=sys.stderr)
    write_run(run)
    if args.json:
        print((run.folder / "results.json").read_text("utf-8"), end="")
    else:
        print_run(run)
    if run.stopped:
        print(f"trim: {run.stopped}", file=sys.stderr)
        return 2
    if run.all_failed:
        print(f"trim: {run.failures}; see error in {run.traces}", file=sys.stderr)
        return 1
    return 0
