"""`trim eval-prm`: how good a process reward model is on solutions whose first wrong step is known."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from trim.cli.options import Commands
from trim.config.factory import open_prm
from trim.config.loading import load_config
from trim.errors import ConfigError, TraceError
from trim.experiments.recorded_runs import LabelledSolution, Recorded, read_labelled
from trim.types import Question

if TYPE_CHECKING:
    from rich.table import Table

    from trim.config.settings import Config
    from trim.metrics.judge_quality import Judged, Quality


def register(commands: Commands) -> None:
    """Add the command."""
    judge = commands.add_parser(
        "eval-prm",
        help="how good a process reward model is",
        description="Scores solutions whose first wrong step is known: ProcessBench's F1, AUROC, calibration, seconds a"
        " step.\n\nexamples:\n"
        "  trim eval-prm processbench-math.jsonl --config trim.toml\n"
        "  trim eval-prm trim-eval --solutions 300 --scorers embedded,likelihood,log-probability,entropy\n"
        "  trim eval-prm trim-eval --solutions 300 --recalibrate isotonic --out curve.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    judge.add_argument(
        "data", type=Path, help="ProcessBench-format JSONL, or a folder of trim eval whose task has a rule for steps"
    )
    judge.add_argument("--config", type=Path, metavar="trim.toml", help="whose [prm] (default: the embedded one)")
    judge.add_argument(
        "--scorers",
        metavar="BACKEND[=MODEL],...",
        help="compare these instead of [prm] backend, at its address or of the shipped models, on one table, such as "
        "embedded,likelihood,likelihood=weak,log-probability,entropy=strong",
    )
    judge.add_argument("--threshold", type=float, default=0.5, help="below it a step counts as wrong (default: 0.5)")
    judge.add_argument("--solutions", type=int, default=1_000, help="the first so many (default: 1000)")
    judge.add_argument(
        "--recalibrate", choices=("isotonic", "temperature"), help="fit a curve that makes scores honest, into --out"
    )
    judge.add_argument("--out", type=Path, metavar="FILE.json", help="for the curve: [prm] recalibration = FILE.json")
    judge.add_argument("--json", action="store_true", help="print all figures as JSON")
    judge.set_defaults(run=_judge)


async def _judge(args: argparse.Namespace) -> int:
    from trim.metrics.judge_quality import quality
    from trim.reporting.console import console

    if (args.recalibrate is None) != (args.out is None):
        raise ConfigError("--recalibrate and --out go together")
    if not 0.0 <= args.threshold <= 1.0 or args.solutions < 1:
        raise ConfigError("--threshold must lie in [0, 1] and --solutions be at least 1")
    config = load_config(args.config)
    rows = _labelled(args.data)[: args.solutions]
    if args.scorers:
        return await _compare(config, rows, args)
    judged = await _scored(config, rows)
    try:
        found = quality(judged, args.threshold)
    except ValueError as error:
        raise ConfigError(f"{args.data}: {error}") from None
    if args.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        console().print(_table(found, f"{config.names()['prm']} on {args.data.name}"))
    if args.recalibrate:
        _recalibrate(judged, args)
    return 0


async def _compare(config: Config, rows: Sequence[LabelledSolution], args: argparse.Namespace) -> int:
    """Several scorers on one table."""
    from trim.metrics.judge_quality import quality
    from trim.reporting.console import console

    if args.recalibrate:
        raise ConfigError("--scorers compares; recalibrate one scorer at a time")
    names = [name.strip() for name in args.scorers.split(",")]
    chosen = {name: _with_scorer(config, name) for name in names}
    try:
        found = {name: quality(await _scored(one, rows), args.threshold) for name, one in chosen.items()}
    except ValueError as error:
        raise ConfigError(f"{args.data}: {error}") from None
    if args.json:
        print(json.dumps({name: asdict(figures) for name, figures in found.items()}, indent=1))
    else:
        console().print(_comparison(found, args.data.name))
    return 0


def _with_scorer(config: Config, text: str) -> Config:
    """The same models with another `[prm]`: BACKEND or BACKEND=MODEL."""
    from trim.config.settings import PrmSettings

    backend, _, model = text.partition("=")
    known = get_args(get_type_hints(PrmSettings)["backend"])
    if backend not in known:
        raise ConfigError(f"--scorers: no {backend!r}; there are {', '.join(known)}")
    base_url = "" if backend == "embedded" else config.prm.base_url
    model = model or (config.prm.model if base_url else "")
    changes: dict[str, Any] = {"backend": backend, "model": model, "base_url": base_url, "recalibration": ""}
    return replace(config, prm=replace(config.prm, **changes))


def _labelled(path: Path) -> list[LabelledSolution]:
    """Solutions with labels: a file's, or those of a run labelled by its task's rule, each text once."""
    if path.suffix == ".jsonl" and path.name != "traces.jsonl":
        return read_labelled(path)
    from trim.tasks import FAMILIES

    recorded = Recorded.of([path])
    name = recorded.task(None)
    family = FAMILIES.get(name.partition(":")[0])
    if family is None:
        raise ConfigError(f"task {name} has no rule that says which steps are right; give ProcessBench-format JSONL")
    found: dict[LabelledSolution, None] = {}
    for trace in recorded.traces():
        steps = tuple(step.text for step in trace.steps)
        labels = family.step_labels(trace.question, steps)
        if steps:
            found[LabelledSolution(trace.question.text, steps, labels.index(False) if False in labels else -1)] = None
    if not found:
        raise TraceError(f"{path} has no solutions")
    return list(found)


async def _scored(config: Config, rows: Sequence[LabelledSolution]) -> list[Judged]:
    """Score one solution after the other, so that the seconds are the model's own."""
    from trim.metrics.judge_quality import Judged

    found = []
    prm = open_prm(config)
    try:
        for row in rows:
            started = time.perf_counter()
            scores = await prm.score(Question(row.problem), row.steps)
            found.append(Judged(scores.values, row.label, time.perf_counter() - started))
    finally:
        await prm.aclose()
    return found


def _recalibrate(judged: Sequence[Judged], args: argparse.Namespace) -> None:
    """Fit a curve on every other solution, say what it does on the rest, and save it."""
    import numpy as np

    from trim.metrics.isotonic import Points, recalibrate
    from trim.metrics.judge_quality import calibration_error, labelled_steps

    try:
        curve = recalibrate(labelled_steps(judged[::2]), args.recalibrate)
    except ValueError as error:
        raise ConfigError(f"{args.data}: {error}") from None
    before = labelled_steps(judged[1::2])
    after = Points(np.array([curve(score) for score in before.scores]), before.right)
    curve.save(args.out)
    print(
        f"calibration error on held-out solutions: {calibration_error(before):.3f}, through the curve "
        f"{calibration_error(after):.3f}; use it: [prm] recalibration = {str(args.out)!r}",
        file=sys.stderr if args.json else sys.stdout,
    )


def _comparison(found: dict[str, Quality], data: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    one = next(iter(found.values()))
    title = f"scorers on {data}: {one.solutions} solutions, {one.steps} steps up to their first wrong one"
    made = Table(title=Text(title), title_justify="left", header_style="bold")
    made.add_column("scorer", no_wrap=True)
    for name in ("AUROC", "95% in", f"F1 at {one.threshold:g}", "best F1", "at", "calibration error", "ms a step"):
        made.add_column(name, justify="right")
    for scorer, q in found.items():
        made.add_row(
            scorer,
            f"{q.auroc.value:.3f}",
            f"{q.auroc.low:.3f} to {q.auroc.high:.3f}",
            f"{q.f1.value:.3f}",
            f"{q.best_f1:.3f}",
            f"{q.best_threshold:g}",
            f"{q.calibration_error:.3f}",
            f"{1000 * q.seconds_per_step:.1f}",
        )
    return made


def _table(found: Quality, title: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title), title_justify="left", header_style="bold")
    made.add_column("figure")
    made.add_column("value", justify="right")
    made.add_column("95% interval", justify="right")
    for name, estimate in (
        (f"F1 at {found.threshold:g}", found.f1),
        ("first wrong step named", found.erroneous),
        ("correct solutions left alone", found.correct),
        ("AUROC of steps", found.auroc),
    ):
        made.add_row(name, f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}")
    made.add_row("first wrong step or a neighbour named", f"{found.near:.3f}", "")
    made.add_row(f"best F1, at {found.best_threshold:g}", f"{found.best_f1:.3f}", "")
    made.add_row("calibration error", f"{found.calibration_error:.3f}", "")
    made.add_row("milliseconds a step", f"{1000 * found.seconds_per_step:.1f}", "")
    for tenth in found.bins:
        made.add_row(f"  scores around {tenth.score:.2f}: right", f"{tenth.right:.3f}", f"{tenth.count} steps")
    made.caption = f"{found.solutions} solutions, {found.steps} steps up to their first wrong one"
    return made
