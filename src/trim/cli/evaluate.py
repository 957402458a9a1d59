"""`trim eval`: run policies over questions and compare them."""

from __future__ import annotations

import argparse
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trim.cli import report
from trim.cli.options import DEMO_SEED, RAW, Commands, config_option, count
from trim.cli.policies import keep_fit
from trim.config.loading import load_config
from trim.config.specs import resolve
from trim.errors import ConfigError
from trim.experiments.recording import RecordSettings
from trim.experiments.sweep import EvaluationPlan, OnCluster, names, on_cluster, open_points
from trim.policies.registry import listing

if TYPE_CHECKING:
    from trim.config.settings import Config
    from trim.experiments.run import Run
    from trim.tasks import Task


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "eval",
        help="run policies over questions and compare them",
        description="Run policies over questions; writes traces.jsonl, results.json, frontier.png and report.html.\n"
        "Kill it and start it again with --resume: nothing is lost, nothing done twice.\n\nexamples:\n"
        "  trim eval --task gsm_symbolic --questions 500 --out trim-eval\n"
        "  trim eval --task mine.jsonl --policies always-weak,always-strong,threshold \\\n"
        "            --parameters threshold=0.3,0.6 --config trim.toml --out mine",
        formatter_class=RAW,
    )
    parser.add_argument(
        "--task",
        default="gsm_symbolic",
        help="gsm_symbolic, arithmetic_chain or string_rewriting (:easy, :medium or :hard behind it for one level), "
        "math500, aime, aime24, amc23, olympiadbench, minerva_math, gsm8k, or a JSONL file with question and answer",
    )
    parser.add_argument(
        "--policies",
        default="always-weak,always-strong,random,threshold",
        help=f"comma-separated (default: always-weak, always-strong, random, threshold). {listing()}. Your own: "
        "FILE.py:CLASS or MODULE:CLASS. Options: threshold+2 resamples a draft twice before it asks the strong model, "
        "threshold+revise may have the strong model revise its text; pomdp has both, +snapshot and +takeover",
    )
    parser.add_argument(
        "--parameters", action="append", default=[], metavar="POLICY=A,B,...", help="parameters instead of the sweep"
    )
    parser.add_argument("--questions", type=count, default=200)
    parser.add_argument("--seed", type=int, default=DEMO_SEED, help="of questions and sampling (default: 900000)")
    parser.add_argument(
        "--samples",
        type=count,
        help="solutions of each question at each point, each with a seed of its own (default: 1, or as recorded)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    parser.add_argument("--score", action="store_true", help="score drafts also where no policy asks (for trim fit)")
    parser.add_argument("--concurrency", type=count, default=64, help="questions at the same time (default: 64)")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="where questions are solved")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="keep every step and score in DIR and ask for none twice: many policies for the work of a few",
    )
    parser.add_argument("--replay", type=Path, metavar="DIR", help="no models: what trim record wrote for --config")
    parser.add_argument("--workers", type=count, default=2, help="of --engine ray, a CPU each (default: 2)")
    parser.add_argument("--address", help="of a running Ray cluster (default: the environment's, else this machine)")
    parser.add_argument("--json", action="store_true", help="print results.json instead of a table")
    config_option(parser)
    parser.set_defaults(run=_eval, command="eval")


async def _eval(args: argparse.Namespace) -> int:
    from trim.tasks import load_task

    if args.replay:
        told = RecordSettings.read(args.replay)
        args.task, args.seed, args.questions = told.task, told.seed, min(told.questions, args.questions)
        args.samples = args.samples or told.samples
        if args.samples > told.samples:
            raise ConfigError(f"{args.replay} is a record of --samples {told.samples}, not {args.samples}")
    if args.record and (args.replay or args.engine == "ray"):
        raise ConfigError("--record needs models, and one process that writes: leave out --replay and --engine ray")
    config, task = load_config(args.config), load_task(args.task)
    plan = EvaluationPlan(
        config=config.instructed(task.instruction),
        task=args.task,
        policies=names(args.policies),
        parameters=tuple(args.parameters),
        questions=args.questions,
        seed=args.seed,
        samples=args.samples or 1,
        score=args.score,
        concurrency=args.concurrency,
        replay=args.replay,
        record=args.record,
    )
    cluster = OnCluster(args.workers, args.address) if args.engine == "ray" else None
    try:
        run = await evaluate(args.out, plan, task, resume=args.resume, cluster=cluster)
    finally:
        task.close()
    if args.json:
        print((run.folder / "results.json").read_text(), end="")
    else:
        conclude(run)
    return 0


async def evaluate(
    out: Path, plan: EvaluationPlan, task: Task, *, resume: bool, cluster: OnCluster | None = None
) -> Run:
    """Run, with a progress bar, and write everything into the folder."""
    from trim.experiments.run import Run, Settings
    from trim.reporting.console import progress

    plan = replace(plan, recorded=out / "traces.jsonl" if resume else None)
    async with AsyncExitStack() as stack:
        points = await stack.enter_async_context(open_points(plan, task))
        generation = _jsonable(plan.config) | ({"scored": True} if plan.score else {})
        settings = Settings(task.name, plan.questions, plan.seed, plan.config.names(), generation, plan.samples)
        run = Run(out, settings, resume=resume)
        keep_fit(",".join(plan.policies), out)
        if cluster is not None:
            points = await on_cluster(plan, points, cluster, stack)
        with progress(len(points) * plan.questions * plan.samples) as advance:
            await run.add(
                points,
                task.stream(plan.questions, plan.seed),
                task,
                concurrency=plan.concurrency,
                progress=lambda point, fresh: advance(point.label),
            )
        if run.torn:
            print(f"trim: {run.torn}", file=sys.stderr)
    report.write(run)
    return run


def _jsonable(config: Config) -> dict[str, object]:
    """What besides the models decides what comes out."""
    spec = resolve(config)
    sampling, limits, budget = spec.sampling, spec.limits, spec.budget
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_steps": limits.max_steps,
        "max_step_tokens": sampling.max_step_tokens,
        "separator": spec.step_format.separator.value,
        "max_drafts": limits.max_drafts,
        "max_strong_tokens": budget.max_strong_tokens,
        "max_cost": budget.max_cost,
    }


def conclude(run: Run) -> None:
    """Print the tables, and what to look at."""
    from trim.reporting.console import console
    from trim.reporting.report_page import headline
    from trim.reporting.tables import summary_table, table

    screen = console()
    points = run.operating_points()
    screen.print(table(points, f"{run.settings.task}, {run.settings.size}, means per question"))
    if summaries := run.summaries():
        screen.print(summary_table(summaries))
    if words := headline(points):
        screen.print(f"[bold]{words}[/bold]")
    if failed := sum(p.fallbacks for p in points):
        print(f"{failed} solutions went on without a role that failed, as on_error says; the report marks them")
    print(f"Look at it: {(run.folder / 'report.html').resolve()}")
