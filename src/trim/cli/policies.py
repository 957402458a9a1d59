"""`trim fit pomdp`, `trim explain`, `trim calibrate`: policies from recorded traces."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trim import atomic
from trim.cli import fit_router as routers
from trim.cli.options import Commands
from trim.config.factory import open_backends
from trim.config.loading import load_config
from trim.config.specs import resolve
from trim.errors import ConfigError
from trim.experiments.recorded_runs import LabelledSolution, Recorded, read_labelled
from trim.policies import FAMILIES, PolicySpec, open_sweep
from trim.policies.registry import Level, PolicyFamily, check, family_of, listing
from trim.types import Action, Observation, Question

if TYPE_CHECKING:
    from rich.table import Table

    from trim.config.settings import Config
    from trim.experiments.parameter_calibration import Calibration
    from trim.policies.artifacts import Models
    from trim.policies.pomdp import PomdpPolicy
    from trim.pomdp.fit.estimation import PomdpFit
    from trim.pomdp.fit.labels import Labeller
    from trim.pomdp.observation import FloatArray
    from trim.stats import Estimate
    from trim.tasks import Task

_DEFAULT_STEP_COST = 0.05  # of a correct answer: the price that a fit is saved with


def register(commands: Commands) -> None:
    """Add the commands."""
    raw = argparse.RawDescriptionHelpFormatter
    fit = commands.add_parser("fit", help="fit a policy to recorded traces")
    kinds = fit.add_subparsers(required=True, metavar="KIND")
    _register_fit(kinds, raw)
    routers.register_fit(kinds)

    explain = commands.add_parser(
        "explain",
        help="why a fitted policy keeps or rewrites a draft",
        description="The belief, the gain, the decision, and the price from which on the draft is kept.\n\nexample:\n"
        "  trim explain fits/gsm --step 2 --scores .9,.8,.3 --tokens 40",
        formatter_class=raw,
    )
    explain.add_argument("policy", type=Path, metavar="DIR", help="what `trim fit pomdp` wrote")
    explain.add_argument("--step", type=int, help="of the draft, from 0 (default: that of the last score)")
    explain.add_argument("--scores", type=_scores, required=True, help="of all steps so far, the draft's last")
    explain.add_argument("--tokens", type=int, required=True, help="of the draft")
    explain.add_argument("--rewritten", type=_steps, default=(), help="steps that the strong model wrote, such as 0,2")
    explain.add_argument(
        "--tried", type=_scores, default=(), help="scores of the step's earlier drafts, after RESAMPLE"
    )
    explain.add_argument("--resamples", type=int, default=0, help="drafts that may follow a first one (default: 0)")
    explain.add_argument("--price", type=float, help="of a strong token in correct answers (default: the saved one)")
    explain.add_argument("--final", action="store_true", help="the draft ends the solution")
    explain.add_argument("--json", action="store_true")
    explain.set_defaults(run=_explain)

    calibrate = commands.add_parser(
        "calibrate",
        help="turn a wanted share, accuracy or cost into a policy's parameter",
        description="Interpolates between the points of an evaluation, says how sure it is, and checks itself on other"
        " questions.\n\nexample:\n"
        "  trim calibrate --policy threshold --traces trim-eval --strong-share 0.2 --out threshold.json",
        formatter_class=raw,
    )
    calibrate.add_argument("--policy", required=True, help=listing(_can_be_calibrated))
    calibrate.add_argument("--traces", type=Path, required=True, metavar="DIR", help="what `trim eval --out` wrote")
    target = calibrate.add_mutually_exclusive_group(required=True)
    target.add_argument("--strong-share", type=float, help="strong tokens over those of the strong model alone")
    target.add_argument("--accuracy", type=float, help="share of right answers")
    target.add_argument("--cost", type=float, help="per question, in the unit of the prices")
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    calibrate.add_argument("--json", action="store_true", help="print the file instead of words")
    calibrate.set_defaults(run=_calibrate)


def _register_fit(kinds: Commands, raw: Any) -> None:
    pomdp = kinds.add_parser(
        "pomdp",
        help="the POMDP: step accuracies, repair, lengths, scores by state",
        description="Estimates everything that planning needs from traces of your own pair and writes the policy.\n\n"
        "example:\n"
        "  trim eval --task gsm_symbolic --policies random --parameters random=0.5 --questions 500 --score --out runs\n"
        "  trim fit pomdp runs --out fits/gsm\n"
        "  trim eval --task gsm_symbolic --policies threshold,pomdp=fits/gsm --seed 901000 --out compare",
        formatter_class=raw,
    )
    pomdp.add_argument("traces", nargs="+", type=Path, metavar="TRACES", help="folders of trim eval, or trace files")
    pomdp.add_argument("--task", help="whose rule labels the steps (default: the one that the traces were recorded on)")
    pomdp.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the policy and pictures")
    pomdp.add_argument(
        "--labels",
        choices=("rule", "prm"),
        default="rule",
        help="rule of the task (default), or the paper's PRM shortcut",
    )
    pomdp.add_argument(
        "--observation",
        type=Path,
        metavar="FILE",
        help="scores by state from here: points (.json), or ProcessBench (.jsonl), scored by the configured PRM",
    )
    pomdp.add_argument("--price", type=float, help="saved as the default (default: a step costs 0.05 correct answers)")
    pomdp.add_argument(
        "--config",
        type=Path,
        metavar="trim.toml",
        help="models of traces without a run.json; the PRM for --observation; the prices for --bill",
    )
    pomdp.add_argument(
        "--bill",
        action="store_true",
        help="plan for the full bill: weak, PRM and prompt tokens at the prices set",
    )
    pomdp.add_argument("--json", action="store_true", help="print the estimates as JSON")
    pomdp.set_defaults(run=_fit)


def _scores(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (-1.0,)
    if not all(0 <= value <= 1 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers in [0, 1] such as .9,.8,.3")
    return values


def _steps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of steps such as 0,2") from None


def _print(table: Table | str) -> None:
    from trim.reporting.console import console

    console().print(table, soft_wrap=isinstance(table, str))


def keep_fit(policies: str, folder: Path) -> None:
    """Put the fit that a run uses beside its traces.

    Raises:
        ConfigError: another one is there: traces of two fits would be mixed.
    """
    for name in policies.split(","):
        spec = PolicySpec.parse(name)
        for file in ("policy.json", "arrays.npz") if spec.folder else ():
            kept, content = folder / spec.family / file, (Path(spec.folder) / file).read_bytes()
            if kept.exists() and kept.read_bytes() != content:
                raise ConfigError(f"{folder} holds a run with another fit than {spec.folder}: choose another --out")
            kept.parent.mkdir(exist_ok=True)
            atomic.write_bytes(kept, content)


# fit ------------------------------------------------------------------------------------------------------------


async def _fit(args: argparse.Namespace) -> int:
    from trim.policies.artifacts import Provenance
    from trim.policies.pomdp import PomdpPolicy
    from trim.pomdp.cost_model import CostModel, measure_cost_model
    from trim.pomdp.fit.estimation import fit
    from trim.tasks import load_task

    recorded = Recorded.of(args.traces)
    config = load_config(args.config) if args.config else None
    models, task = recorded.models(config), load_task(recorded.task(args.task))
    try:
        points = await _observation(args.observation, config or load_config(None), models) if args.observation else None
        fitted = fit(recorded.traces(), _labeller(args.labels, task), task.form.has_answer, points=points)
    finally:
        task.close()
    price = _DEFAULT_STEP_COST / fitted.step_tokens.value if args.price is None else args.price
    bill = (
        measure_cost_model(recorded.traces(), resolve(config or load_config(None)).prices) if args.bill else CostModel()
    )
    policy = PomdpPolicy(fitted.model, float(f"{price:.2g}"), cost_model=bill)
    policy.save(args.out, Provenance(models, task.name, date.today().isoformat(), fitted.questions))
    estimates = _estimates(fitted) | {"bill": asdict(bill)}
    atomic.write_json(args.out / "fit.json", estimates)
    _draw(policy, fitted, args.out)
    if args.json:
        print(json.dumps(estimates))
    else:
        _print(_fit_table(fitted, task.name))
        if args.bill:
            costs = f"a draft and its score {bill.per_draft:.2f}, a strong step {bill.per_strong_step:.2f}"
            _print(f"besides, in strong tokens: {costs}")
        files = "policy.json, arrays.npz, fit.json, decisions.png, hazard.png, scores.png"
        _print(f"Saved with a price of {policy.price:g} in {args.out}: {files}")
    return 0


def _labeller(labels: str, task: Task) -> Labeller:
    from trim.pomdp.fit.labels import label_by_prm, label_by_rule

    if labels == "prm":
        return label_by_prm
    if task.step_labels is None:
        raise ConfigError(f"task {task.name} has no rule that says which steps are right: --labels prm")
    label = label_by_rule(task.step_labels)
    return lambda trace: label(trace) if trace.question.reference_steps else None


async def _observation(path: Path, config: Config, models: Models) -> Mapping[str, FloatArray]:
    """Scores by state from a file of points, or from labelled solutions in ProcessBench's format."""
    import numpy as np

    from trim.pomdp import STATES, read_points
    from trim.pomdp.fit.labels import labelled_points

    if path.suffix != ".jsonl":
        return read_points(path)
    if config.names()["prm"] != models.prm:
        raise ConfigError(f"the traces were scored by {models.prm}: --config must name it to score {path}")
    rows = read_labelled(path)
    found: dict[str, list[tuple[float, float]]] = {state: [] for state in STATES}
    async with open_backends(config) as backends:
        turns = asyncio.Semaphore(16)

        async def score(row: LabelledSolution) -> None:
            async with turns:
                scores = await backends.prm.score(Question(row.problem), row.steps)
            for state, points in labelled_points(scores.values, row.label).items():
                found[state] += points

        await asyncio.gather(*(score(row) for row in rows))
    return {state: np.array(points).reshape(-1, 2) for state, points in found.items()}


def _estimates(fitted: PomdpFit) -> dict[str, object]:
    """All that was estimated, as JSON."""
    names = (
        "weak_accuracy",
        "final_accuracy",
        "strong_accuracy",
        "strong_accuracy_if_correct",
        "strong_accuracy_if_wrong",
        "step_tokens",
    )
    found = {name: getattr(fitted, name) for name in names}
    return {
        **{name: asdict(estimate) if estimate else None for name, estimate in found.items()},
        "hazard": [asdict(estimate) for estimate in fitted.hazard],
        "resamples": asdict(fitted.resamples) if fitted.resamples else None,
        "repeat_weight": fitted.repeat_weight,
        "revise": asdict(fitted.revise) if fitted.revise else None,
        "smoothed_hazard": list(fitted.model.hazard),
        "scores": {state: asdict(estimate) for state, estimate in fitted.scores.items()},
        "questions": fitted.questions,
        "traces": fitted.traces,
        "skipped_traces": fitted.skipped,
    }


def _fit_table(fitted: PomdpFit, task: str) -> Table:
    from rich.table import Table

    skipped = f", {fitted.skipped} without labels left out" if fitted.skipped else ""
    title = f"{task}: {fitted.traces} traces of {fitted.questions} questions{skipped}"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("estimate")
    for name in ("value", "95% interval", "from"):
        table.add_column(name, justify="right")

    def row(name: str, estimate: Estimate | None, of: str, digits: int = 3) -> None:
        if estimate is None:
            table.add_row(name, "as p_s", "", "no labelled pairs")
            return
        low, high = (f"{bound:.{digits}f}" for bound in (estimate.low, estimate.high))
        table.add_row(name, f"{estimate.value:.{digits}f}", f"{low} to {high}", f"{estimate.count:,} {of}")

    row("p_w: weak step right", fitted.weak_accuracy, "drafts")
    if fitted.final_accuracy is not None:
        row("p_w of the final step", fitted.final_accuracy, "drafts")
    row("p_s: strong step right", fitted.strong_accuracy, "steps")
    row("q_C: strong step right, draft right", fitted.strong_accuracy_if_correct, "steps")
    row("q_R: strong step right, draft wrong", fitted.strong_accuracy_if_wrong, "steps")
    row("tokens of a draft", fitted.step_tokens, "drafts", 1)
    resamples = fitted.resamples
    kinds = [("next draft", resamples), ("revised strong step", fitted.revise)]
    if resamples is not None:
        kinds[1:1] = [
            ("later draft, earlier alike,", resamples.after_identical),
            ("later draft, earlier differ,", resamples.after_differing),
        ]
    for text, again in kinds:
        if again is None:
            continue
        for state, estimate in zip(fitted.scores, again.repeat_probability, strict=True):
            row(f"{text} the same, {state}", estimate, "pairs")
        row(f"{text} right, the one before right", again.accuracy_if_correct, "different pairs")
        row(f"{text} right, the one before wrong", again.accuracy_if_wrong, "different pairs")
        if again.score_correlation is not None:
            table.add_row("correlation of their scores", f"{again.score_correlation:.3f}", "", "taken to be 0")
    if fitted.repeat_weight is not None:
        table.add_row("what a repeated draft counts for", f"{fitted.repeat_weight:g}", "", "0: nothing")
    for state, estimate in fitted.scores.items():
        row(f"mean score when {state}", estimate, "scores")
    for t, estimate in enumerate(fitted.hazard):
        row(f"hazard[{t}]: draft {t + 2} is the final one", estimate, "drafts")
    return table


def _draw(policy: PomdpPolicy, fitted: PomdpFit, folder: Path) -> None:
    from trim.reporting import pomdp_plots
    from trim.reporting.frontier_plot import save

    save(pomdp_plots.decisions(policy), folder / "decisions.png")
    save(pomdp_plots.hazard(fitted.model, fitted.hazard), folder / "hazard.png")
    save(pomdp_plots.scores(fitted.points), folder / "scores.png")


# explain --------------------------------------------------------------------------------------------------------


async def _explain(args: argparse.Namespace) -> int:
    from trim.policies.pomdp import PomdpPolicy

    policy = PomdpPolicy.load(args.policy)
    policy = policy if args.price is None else policy.at(args.price)
    policy = replace(policy, resamples=args.resamples or policy.resamples)
    step = len(args.scores) - 1
    if args.step not in (None, step):
        raise ConfigError(
            f"--step {args.step} needs {args.step + 1} scores, those of all steps so far: there are {step + 1}"
        )
    if args.tokens < 1:
        raise ConfigError("--tokens must be at least 1")
    if not set(args.rewritten) <= set(range(step)):
        raise ConfigError(f"--rewritten names steps before step {step}, from 0")
    tried = (*args.tried, args.scores[-1])
    seen = Observation(
        scores=args.scores,
        tokens=(args.tokens,) * (step + 1),
        actions=tuple(Action.REGENERATE if n in args.rewritten else Action.CONTINUE for n in range(step)),
        final=args.final,
        drafts=len(args.tried) + 1,
        draft_scores=(*(() if n in args.rewritten else (args.scores[n],) for n in range(step)), tried),
    )
    belief, flip = policy.believe(seen), policy.flip_price(seen)
    gain, action = float(policy.solution.gain(step, belief, final=args.final)), policy.act(seen)
    if args.json:
        values = {"belief": belief._asdict(), "gain": gain, "price": policy.price, "cost": policy.price * args.tokens}
        print(json.dumps({**values, "action": action.value, "flip_price": flip}))
        return 0
    draft = "the final draft" if args.final else f"the draft at step {step}"
    print(f"belief about {draft}: " + ", ".join(f"{s.upper()} {p:.3f}" for s, p in belief._asdict().items()))
    print(f"gain of rewriting it: {gain:.4f} correct answers")
    print(f"cost of rewriting it: {policy.price * args.tokens:.4f} ({args.tokens} tokens at {policy.price:g})")
    print(f"decision: {action.value}")
    print("it is kept at every price" if flip is None else f"it is kept from a price of {flip:.3g} on, rewritten below")
    return 0


# calibrate ------------------------------------------------------------------------------------------------------


async def _calibrate(args: argparse.Namespace) -> int:
    from trim.experiments.parameter_calibration import Target, calibrate
    from trim.metrics.operating_point import Tally

    if not args.traces.is_dir():
        raise ConfigError(f"{args.traces} is no folder of trim eval")
    recorded = Recorded.of([args.traces])
    models, task = recorded.models(None), recorded.task(None)
    spec = PolicySpec.parse(args.policy)
    check(spec)
    if not _can_be_calibrated(family_of(spec)):
        raise ConfigError(f"policy {spec.name!r} has no parameter to calibrate; {listing(_can_be_calibrated)}")
    if spec.folder:
        from trim.policies.artifacts import Artifact

        Artifact.load(Path(spec.folder), kind=spec.family, models=models)
    tallies: dict[tuple[str, float | None], Tally] = {}
    for trace in recorded.traces():
        tallies.setdefault((trace.policy, trace.parameter), Tally()).add(trace)
    wanted: dict[str, float | None] = {"strong_share": args.strong_share, "accuracy": args.accuracy, "cost": args.cost}
    target = next(Target(kind, value) for kind, value in wanted.items() if value is not None)  # type: ignore[arg-type]
    traced = spec.name if spec.family in FAMILIES else open_sweep(spec)[0].name  # as traces call it
    found = calibrate(tallies, traced, target)
    provenance = {
        "models": asdict(models),
        "task": task,
        "date": date.today().isoformat(),
        "questions": found.parameter.count,
    }
    values = {
        "schema": 1,
        "kind": "calibration",
        **found.to_json(),
        "policy": spec.name,
        "folder": spec.folder or None,
        "provenance": provenance,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_json(args.out, values)
    print(json.dumps(values) if args.json else _words(found, args.policy, args.out))
    return 0


def _can_be_calibrated(family: PolicyFamily) -> bool:
    return family.level is Level.STEP and family.parameter is not None


def _words(found: Calibration, policy: str, path: Path) -> str:
    target, parameter, expected = found.target, found.parameter, found.expected
    realised = found.held_out.realised
    kind = target.kind.replace("_", " ")
    share = "" if expected.strong_share is None else f", strong share {expected.strong_share:.1%}"
    return (
        f"{kind} {target.value:g}: --policy {path}, which is {policy} at {parameter.value:.4g} (95% interval "
        f"{parameter.low:.4g} to {parameter.high:.4g}, {parameter.count} questions)\n"
        f"expected there: accuracy {expected.accuracy:.1%}{share}, cost {expected.cost:.3g} a question\n"
        f"held out: found on half of the questions ({found.held_out.parameter:.4g}), the other {realised.count} have "
        f"{kind} {realised.value:.4g} (95% interval {realised.low:.4g} to {realised.high:.4g})"
    )
