"""The command line: `trim demo`, `solve`, `eval`, `plan`, `config check`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trim.arguments import DEMO_SEED, parser
from trim.backends import Backends, open_backends
from trim.commands import report
from trim.commands.evaluation import EvaluationPlan, OnCluster, names, on_cluster, open_points
from trim.commands.policies import keep_fit
from trim.commands.record import RecordSettings
from trim.config import Config, load_config
from trim.errors import BackendError, ConfigError, TrimError
from trim.policies import Threshold
from trim.types import Budget, Question, Trace

if TYPE_CHECKING:
    from rich.console import Console

    from trim.evals.run import Run
    from trim.tasks import Task


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0, 2 for anything that the user can mend, 130 for Ctrl-C."""
    args = parser().parse_args(argv)
    try:
        return int(asyncio.run(args.run(args) if "run" in args else _COMMANDS[args.command](args)))
    except TrimError as error:
        if args.debug:
            raise
        print(f"trim: {error}{_hint(args) if isinstance(error, BackendError) else ''}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"trim: interrupted{_hint(args)}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _hint(args: argparse.Namespace) -> str:
    """How to go on after an evaluation broke off."""
    resumable = getattr(args, "command", None) in ("eval", "plan", "train")
    return f"; go on with: --out {args.out} --resume" if resumable else ""


def _console() -> Console:
    from trim.show import console

    return console()


# solve ----------------------------------------------------------------------------------------------------------


async def _solve(args: argparse.Namespace) -> int:
    from trim.show import live, summary
    from trim.tasks.grading import final_answer
    from trim.traces import to_json

    question = _question(args.question)
    config = load_config(args.config)
    policy = config.build_policy(args.policy, args.parameter)
    budget = Budget(
        config.budget.max_strong_tokens if args.max_strong_tokens is None else args.max_strong_tokens,
        config.budget.max_cost if args.max_cost is None else args.max_cost,
    )
    async with open_backends(config) as backends:
        router = backends.router(policy, budget=budget)
        if args.json:
            trace = await router.route(question, seed=args.seed)
            print(json.dumps(to_json(replace(trace, answer=final_answer(trace.text)))))
            return 0
        console = _console()
        trace = await live(console, router.stream(question, seed=args.seed))
        console.print(summary(replace(trace, answer=final_answer(trace.text))))
    return 0


def _question(text: str) -> Question:
    """What was asked: the argument, or standard input where that is a dash."""
    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    if not text.strip():
        raise ConfigError("the question is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError("the question is no UTF-8 text") from None
    return Question(text.strip())


# eval -----------------------------------------------------------------------------------------------------------


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
        run = await _evaluate(args.out, plan, task, resume=args.resume, cluster=cluster)
    finally:
        task.close()
    if args.json:
        print((run.folder / "results.json").read_text(), end="")
    else:
        _conclude(run)
    return 0


async def _evaluate(
    out: Path, plan: EvaluationPlan, task: Task, *, resume: bool, cluster: OnCluster | None = None
) -> Run:
    """Run, with a progress bar, and write everything into the folder."""
    from trim.evals.run import Run, Settings
    from trim.show import progress

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
    g, b = config.generation, config.budget
    return {
        "temperature": g.temperature,
        "top_p": g.top_p,
        "top_k": g.top_k,
        "max_steps": g.max_steps,
        "max_step_tokens": g.max_step_tokens,
        "separator": g.separator,
        "max_drafts": config.limits().max_drafts,
        "max_strong_tokens": b.max_strong_tokens,
        "max_cost": b.max_cost,
    }


def _conclude(run: Run) -> None:
    from trim.evals.report import headline
    from trim.evals.table import summary_table, table

    console = _console()
    points = run.operating_points()
    console.print(table(points, f"{run.settings.task}, {run.settings.size}, means per question"))
    if summaries := run.summaries():
        console.print(summary_table(summaries))
    if words := headline(points):
        console.print(f"[bold]{words}[/bold]")
    if failed := sum(p.fallbacks for p in points):
        print(f"{failed} solutions went on without a role that failed, as on_error says; the report marks them")
    print(f"Look at it: {(run.folder / 'report.html').resolve()}")


# demo -----------------------------------------------------------------------------------------------------------


async def _demo(args: argparse.Namespace) -> int:
    from trim.show import live, summary
    from trim.tasks import load_task

    console, config, task = _console(), Config(), load_task("gsm_symbolic")
    console.print(
        "[bold]One problem.[/bold] The [yellow]weak[/yellow] model drafts each step, the process reward model scores"
    )
    console.print("it, and drafts scored below 0.5 (struck through) are rewritten by the [cyan]strong[/cyan] model.\n")
    async with open_backends(config) as backends:
        router = backends.router(Threshold(0.5))
        question = await _telling(backends, task)
        console.print(question.text, style="italic")
        console.print()
        trace = await live(console, router.stream(question, seed=DEMO_SEED))
        answer = task.answer(trace.text)
        console.print(summary(replace(trace, answer=answer, correct=task.right(answer, question))))
    console.print(f"\n[bold]Now {args.questions} problems[/bold] with different policies.")
    plan = EvaluationPlan(
        config=config,
        task=task.name,
        policies=("always-weak", "always-strong", "random", "threshold"),
        parameters=("random=0.25,0.5,0.75", "threshold=0.2,0.5,0.8,0.93"),
        questions=args.questions,
        seed=DEMO_SEED,
    )
    # A second demo goes on where the first one was.
    run = await _evaluate(args.out, plan, task, resume=(args.out / "run.json").exists())
    _conclude(run)
    return 0


async def _telling(backends: Backends, task: Task) -> Question:
    """The first problem that the weak model alone gets wrong and routing gets right with a few strong steps."""
    questions = task.questions(20, DEMO_SEED)
    weak = backends.router(backends.config.build_policy("always-weak"))
    routed = backends.router(Threshold(0.5))

    def right(trace: Trace) -> bool:
        return task.right(task.answer(trace.text), trace.question)

    for question in questions:
        if not right(await weak.route(question, seed=DEMO_SEED)):
            trace = await routed.route(question, seed=DEMO_SEED)
            if right(trace) and any(d.rejected for d in trace.decisions) and len(trace.steps) > 2:
                return question
    return questions[0]


# config ---------------------------------------------------------------------------------------------------------


async def _check(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    for role, name in config.names().items():
        print(f"{role:>6}  {name}")
    policy = config.build_policy()
    print(f"policy  {policy.name}" + ("" if policy.parameter is None else f" {policy.parameter:g}"))
    async with open_backends(config) as backends:  # finds templates, keys and model folders that are not there
        if args.probe:
            await _probe(args.config, backends)
    print(f"{args.config} is valid")
    return 0


async def _probe(path: Path, backends: Backends) -> None:
    """Try every backend and print what it can do."""
    from trim.models.probe import probe

    failed = False
    for role, backend in (("weak", backends.weak), ("strong", backends.strong), ("prm", backends.prm)):
        good, words = await probe(backend)
        failed = failed or not good
        print(f"{role:>6}  {'ok' if good else 'FAILED'}: {words}")
    if failed:
        raise ConfigError(f"{path}: not every backend can be used")


_COMMANDS = {"demo": _demo, "solve": _solve, "eval": _eval, "check": _check}

if __name__ == "__main__":
    sys.exit(main())
