"""`trim demo`: one problem live, then a small evaluation."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trim.cli.options import DEMO_SEED, count
from trim.config.factory import Backends, open_backends
from trim.experiments.sweep import EvaluationPlan
from trim.policies import AlwaysWeak, Threshold
from trim.types import Question, Trace

if TYPE_CHECKING:
    from trim.tasks import Task


def register(demo: argparse.ArgumentParser) -> None:
    """Describe the command."""
    demo.add_argument("--questions", type=count, default=60, help="questions of the small evaluation (default: 60)")
    demo.add_argument("--out", type=Path, default=Path("trim-demo"), help="folder for the report (default: trim-demo)")
    demo.set_defaults(run=_demo)


async def _demo(args: argparse.Namespace) -> int:
    from trim.config.settings import Config
    from trim.experiments.evaluation import evaluate
    from trim.reporting.console import console, live, progress, summary
    from trim.reporting.run_report import print_run, write_run
    from trim.tasks import load_task

    screen, config, task = console(), Config(), load_task("gsm_symbolic")
    screen.print(
        "[bold]One problem.[/bold] The [yellow]weak[/yellow] model drafts each step, the process reward model scores"
    )
    screen.print("it, and drafts scored below 0.5 (struck through) are rewritten by the [cyan]strong[/cyan] model.\n")
    async with open_backends(config) as backends:
        router = backends.router(Threshold(0.5))
        question = await _telling(backends, task)
        screen.print(question.text, style="italic")
        screen.print()
        trace = await live(screen, router.stream(question, seed=DEMO_SEED))
        answer = task.answer(trace.text)
        screen.print(summary(replace(trace, answer=answer, correct=task.right(answer, question))))
    screen.print(f"\n[bold]Now {args.questions} problems[/bold] with different policies.")
    plan = EvaluationPlan(
        config=config,
        task=task.name,
        policies=("always-weak", "always-strong", "random", "threshold"),
        parameters=("random=0.25,0.5,0.75", "threshold=0.2,0.5,0.8,0.93"),
        questions=args.questions,
        seed=DEMO_SEED,
    )
    # A second demo goes on where the first one was.
    run = await evaluate(plan, args.out, task=task, resume=(args.out / "run.json").exists(), bar=progress)
    write_run(run)
    print_run(run)
    return 0


async def _telling(backends: Backends, task: Task) -> Question:
    """The first problem that the weak model alone gets wrong and routing gets right with a few strong steps."""
    questions = task.questions(20, DEMO_SEED)
    weak = backends.router(AlwaysWeak())
    routed = backends.router(Threshold(0.5))

    def right(trace: Trace) -> bool:
        return task.right(task.answer(trace.text), trace.question)

    for question in questions:
        if not right(await weak.route(question, seed=DEMO_SEED)):
            trace = await routed.route(question, seed=DEMO_SEED)
            if right(trace) and any(d.rejected for d in trace.decisions) and len(trace.steps) > 2:
                return question
    return questions[0]
