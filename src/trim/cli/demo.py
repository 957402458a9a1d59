"""`trim demo`: one problem live, then a small evaluation."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from trim.cli.options import DEMO_SEED, count
from trim.cli.run_options import bar_of, dry_run_option, preview_words, quiet_option
from trim.config.factory import open_backends
from trim.config.settings import Config
from trim.experiments.demonstration import instructive_question
from trim.experiments.sweep import EvaluationPlan
from trim.policies import AlwaysWeak, Threshold

_CANDIDATES = 20  # questions to look for one on which routing can be seen

_DESCRIPTION = """\
Shows how one problem is solved step by step, then compares policies on a small
evaluation and writes its report. Uses the shipped models: no GPU, no network.

example:
  trim demo --questions 20 --out trim-demo
"""


def register(demo: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    demo.description = _DESCRIPTION
    demo.add_argument("--questions", type=count, default=60, help="questions of the small evaluation (default: 60)")
    demo.add_argument("--out", type=Path, default=Path("trim-demo"), help="folder for the report (default: trim-demo)")
    dry_run_option(demo)
    quiet_option(demo)
    demo.set_defaults(run=_demo)


def _plan(questions: int) -> EvaluationPlan:
    """The small evaluation, of the shipped models."""
    return EvaluationPlan(
        config=Config(),
        task="gsm_symbolic",
        policies=("always-weak", "always-strong", "random", "threshold"),
        parameters=("random=0.25,0.5,0.75", "threshold=0.2,0.5,0.8,0.93"),
        questions=questions,
        seed=DEMO_SEED,
    )


async def _demo(args: argparse.Namespace) -> int:
    from trim.experiments.evaluation import evaluate, preview
    from trim.experiments.preview import has_run
    from trim.reporting.console import console, live, summary
    from trim.reporting.run_report import print_run, write_run
    from trim.tasks import load_task

    plan = _plan(args.questions)
    if args.dry_run:
        print(preview_words(await preview(plan, args.out, resume=has_run(args.out))))
        return 0
    screen, config, task = console(), plan.config, load_task(plan.task)
    screen.print(
        "[bold]One problem.[/bold] The [yellow]weak[/yellow] model drafts each step, the process reward model scores"
    )
    screen.print("it, and drafts scored below 0.5 (struck through) are rewritten by the [cyan]strong[/cyan] model.\n")
    async with open_backends(config) as backends:
        alone, router = backends.router(AlwaysWeak()), backends.router(Threshold(0.5))
        candidates = task.questions(_CANDIDATES, DEMO_SEED)
        question = await instructive_question(alone, router, task, candidates, seed=DEMO_SEED)
        screen.print(question.text, style="italic")
        screen.print()
        trace = await live(screen, router.stream(question, seed=DEMO_SEED))
        answer = task.answer(trace.said)
        screen.print(summary(replace(trace, answer=answer, correct=task.right(answer, question))))
    screen.print(f"\n[bold]Now {args.questions} problems[/bold] with different policies.")
    # A second demo continues where the first one stopped.
    run = await evaluate(plan, args.out, task=task, resume=(args.out / "run.json").exists(), bar=bar_of(args))
    write_run(run)
    print_run(run)
    return 0
