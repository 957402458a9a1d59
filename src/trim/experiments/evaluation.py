"""An evaluation: policies over the questions of a task, into a folder. What `trim eval` runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from math import fsum
from pathlib import Path

from trim.atomic import write_bytes
from trim.config.resolution import resolve
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.experiments.conditions import conditions, with_templates
from trim.experiments.folder_owner import owned
from trim.experiments.preview import Preview, by_what_is_there, has_run
from trim.experiments.ray_cluster import Cluster
from trim.experiments.recording import RecordSettings
from trim.experiments.run import Outlook, ProgressBar, Run, Settings, no_bar
from trim.experiments.spend_limit import SpendLimit, limited
from trim.experiments.sweep import EvaluationPlan, open_points
from trim.policies import PolicySpec
from trim.tasks import Task, load_task, located


@dataclass(frozen=True)
class ClusterOptions:
    """A Ray cluster: workers to use, and its address (None: what the environment names, else this machine)."""

    workers: int
    address: str | None


async def evaluate(
    plan: EvaluationPlan,
    folder: Path,
    *,
    task: Task | None = None,
    resume: bool = False,
    cluster: ClusterOptions | None = None,
    bar: ProgressBar = no_bar,
    announce: Callable[[Outlook], None] = lambda outlook: None,
    max_cost: float | None = None,
) -> Run:
    """Solve every question at every operating point; traces and results are in the folder afterwards.

    Args:
        plan: what to run.
        folder: made where it is not there.
        task: the plan's, where it is open already.
        resume: continue with what is in the folder.
        cluster: Ray workers that solve the questions; None: this process.
        bar: shows how many solutions there are.
        announce: of a long run, told how long it takes and what it costs once that is measured.
        max_cost: dollars that all of the run may cost, earlier parts included, and never more. `Run.stopped` says when
            it was reached.

    Raises:
        ConfigError: the plan names something that is not there, or the folder holds another run.
        BackendError: a model failed and its `on_error` says raise. What is done stays; `resume` continues.
    """
    async with AsyncExitStack() as stack:
        if max_cost is not None and (plan.replay is not None or cluster is not None):
            words = "a replay asks no model" if plan.replay is not None else "--engine ray has no common count of costs"
            raise ConfigError(f"{words}: leave out --max-cost")
        stack.enter_context(owned(folder))
        if task is None:
            task = load_task(plan.task)
            stack.callback(task.close)
        task.prepare()
        config, recorded = plan.config.instructed(task.instruction), folder / "traces.jsonl"
        plan = replace(plan, config=config, recorded=recorded if resume else None)
        limit = stack.enter_context(limited(resolve(config).prices, max_cost, folder))
        backends = await stack.enter_async_context(plan.open_models(limit))
        points = await stack.enter_async_context(open_points(plan, task, backends, limit))
        generation = generation_settings(plan.config) | ({"scored": True} if plan.score else {})
        settings = Settings(
            located(plan.task),
            plan.questions,
            plan.seed,
            identities(plan.config),
            generation,
            plan.samples,
            await with_templates(conditions(plan.config, plan.task, plan.policies), backends),
        )
        run = Run(folder, settings, resume=resume, accept=plan.accept)
        keep_policies(plan.policies, folder)
        if cluster is not None:
            # The workers open the plan themselves.
            remote = Cluster(partial(open_points, plan), workers=cluster.workers, address=cluster.address)
            stack.push_async_callback(remote.aclose)
            points = remote.points(points)
        if limit is not None:
            costs = (cost for tally in run.tallies.values() for cost in tally.cost)
            limit.resume(fsum(tally.measured.cost or 0.0 for tally in run.tallies.values()), max(costs, default=0.0))
        with bar(len(points) * plan.questions * plan.samples) as advance:
            await run.add(
                points,
                task.stream(plan.questions, plan.seed),
                task,
                concurrency=plan.concurrency,
                progress=advance,
                announce=announce,
                limit=limit,
            )
    if limit is not None and limit.reached:
        run.stopped = _stopped(run, limit, len(points))
    run.write_results()
    return run


async def preview(plan: EvaluationPlan, folder: Path, *, resume: bool = False) -> Preview:
    """What `evaluate` would do with these arguments. No model is asked, and nothing is written.

    Raises:
        ConfigError: the plan names something that is not there, or the folder holds a run.
    """
    run = Run.open(folder) if has_run(folder) else None
    if run is not None and not resume:
        raise ConfigError(f"{folder} holds a run already: --resume continues it, or choose another --out")
    async with AsyncExitStack() as stack:
        task = load_task(plan.task)
        stack.callback(task.close)
        plan = replace(plan, config=plan.config.instructed(task.instruction), record=None)
        points = await stack.enter_async_context(open_points(plan, task))
    tallies = [] if run is None else [run.tallies[k] for p in points if (k := (p.policy, p.parameter)) in run.tallies]
    done = sum(len(tally.questions) for tally in tallies)
    missing = resolve(plan.config).prices.missing
    models = tuple(f"{role}: {name}" for role, name in identities(plan.config).items())
    about = Preview("solutions", len(points), plan.questions, plan.samples, done, models, missing[0] if missing else "")
    if not done:
        return about
    calls, seconds, cost = by_what_is_there(tallies, about.to_go, plan.concurrency)
    return replace(about, measured=done, calls=calls, seconds=seconds, cost=cost)


def _stopped(run: Run, limit: SpendLimit, points: int) -> str:
    done = sum(len(tally.questions) for tally in run.tallies.values())
    solutions = points * run.settings.questions * run.settings.samples
    left = f", {limit.broken_off} were broken off" if limit.broken_off else ""
    return (
        f"{limit.words}: {done} of {solutions} solutions are done{left}; "
        f"continue with a higher one and --out {run.folder} --resume"
    )


def replay_plan(plan: EvaluationPlan, record: Path, samples: int | None) -> EvaluationPlan:
    """The plan with the task, seed and questions of a record in place of models.

    Args:
        plan: its questions are a limit.
        record: a folder of `trim record`.
        samples: how many of the recorded samples; None: all.

    Raises:
        ConfigError: the folder is not a record, or has fewer samples.
    """
    about = RecordSettings.read(record)
    if (samples or 1) > about.samples:
        raise ConfigError(f"{record} is a record of --samples {about.samples}, not {samples}")
    questions = min(about.questions, plan.questions)
    return replace(
        plan, task=about.task, seed=about.seed, questions=questions, samples=samples or about.samples, replay=record
    )


def keep_policies(policies: tuple[str, ...], folder: Path) -> None:
    """Put the saved policies that a run uses beside its traces.

    Raises:
        ConfigError: another one is there: traces of two fits would be mixed.
    """
    for spec in map(PolicySpec.parse, policies):
        for file in ("policy.json", "arrays.npz") if spec.folder else ():
            kept, content = folder / spec.family / file, (Path(spec.folder) / file).read_bytes()
            if kept.exists() and kept.read_bytes() != content:
                raise ConfigError(f"{folder} holds a run with another fit than {spec.folder}: choose another --out")
            kept.parent.mkdir(exist_ok=True)
            write_bytes(kept, content)


def generation_settings(config: Config) -> dict[str, object]:
    """What besides the models decides what comes out: kept in `run.json`."""
    spec = resolve(config)
    sampling, limits, budget = spec.sampling, spec.limits, spec.budget
    settings: dict[str, object] = {
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
    if spec.step_format.answer is not None:
        settings["answer"] = spec.step_format.answer
    return settings
