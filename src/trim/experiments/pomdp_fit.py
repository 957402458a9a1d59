"""A POMDP policy fitted to recorded traces: what `trim fit pomdp` does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic_core import to_jsonable_python

from trim.atomic import write_json
from trim.config.factory import open_backends
from trim.config.loading import load_config
from trim.config.resolution import resolve
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.experiments.judge_evaluation import judge_prices, judging_preview
from trim.experiments.labelled_solutions import LabelledSolution, read_processbench
from trim.experiments.metered_models import metered
from trim.experiments.preview import Preview
from trim.experiments.recorded_runs import Recorded
from trim.experiments.spend_limit import limited
from trim.policies.artifacts import Models, Provenance
from trim.policies.pomdp import PomdpPolicy
from trim.pomdp import STATES, read_points
from trim.pomdp.cost_model import CostModel, measure_cost_model
from trim.pomdp.fit.estimation import PomdpFit, fit
from trim.pomdp.fit.labels import Labeller, label_by_prm, label_by_rule, labelled_points
from trim.stats import FloatArray
from trim.tasks import Task
from trim.types import Question

DEFAULT_STEP_COST = 0.05
"""The price that a fit is saved with: what a strong step costs, in correct answers."""
_SCORED_AT_ONCE = 16

Labels = Literal["rule", "prm"]


@dataclass(frozen=True)
class FittedPomdp:
    """A policy, what it was estimated from, and whose traces these were."""

    policy: PomdpPolicy
    estimates: PomdpFit
    cost_model: CostModel
    provenance: Provenance

    def to_json(self) -> dict[str, object]:
        """All that was estimated: the content of `fit.json`."""
        values = {**vars(self.estimates), "cost_model": self.cost_model}
        values |= {"smoothed_hazard": values.pop("model").hazard, "skipped_traces": values.pop("skipped")}
        values.pop("points")
        return dict(to_jsonable_python(values))

    def save(self, folder: Path) -> None:
        """Write the policy and `fit.json` into a folder."""
        self.policy.save(folder, self.provenance)
        write_json(folder / "fit.json", self.to_json())


async def fit_pomdp(
    recorded: Recorded,
    *,
    task: str | None = None,
    labels: Labels = "rule",
    observation: Path | None = None,
    config: Config | None = None,
    price: float | None = None,
    total_cost: bool = False,
    max_cost: float | None = None,
) -> FittedPomdp:
    """Estimate everything that planning needs from traces of a pair of models.

    Args:
        recorded: the traces.
        task: whose rule labels the steps; None: the one that the traces were recorded on.
        labels: by the task's rule, or by the PRM's scores (the paper's shortcut).
        observation: scores by state from this file instead: points (.json) or ProcessBench (.jsonl).
        config: models of traces that don't say whose they are, the PRM that scores `observation`, and the prices.
        price: of a strong token in correct answers, saved as the policy's default; None: see DEFAULT_STEP_COST.
        total_cost: plan for the tokens of all models at the prices set, prompts included.
        max_cost: dollars that scoring `observation` may cost.

    Raises:
        SpendReached: it would cost more.
        ConfigError: traces of different models or tasks, or a task without a rule.
        TraceError: a file cannot be read, or there are too few data.
    """
    models, opened = recorded.models(config), recorded.load_task(task)
    settings = config or load_config(None)
    try:
        points = await _observation(observation, settings, models, max_cost) if observation else None
        found = fit(recorded.traces(), _labeller(labels, opened), opened.form.has_answer, points=points)
    finally:
        opened.close()
    chosen = DEFAULT_STEP_COST / found.step_tokens.value if price is None else price
    cost_model = measure_cost_model(recorded.traces(), resolve(settings).prices) if total_cost else CostModel()
    policy = PomdpPolicy(found.model, float(f"{chosen:.2g}"), cost_model=cost_model)
    provenance = Provenance(models, opened.name, date.today().isoformat(), found.questions)
    return FittedPomdp(policy, found, cost_model, provenance)


def _labeller(labels: Labels, task: Task) -> Labeller:
    if labels == "prm":
        return label_by_prm
    if task.step_labels is None:
        raise ConfigError(f"task {task.name} has no rule that says which steps are right: --labels prm")
    label = label_by_rule(task.step_labels)
    return lambda trace: label(trace) if trace.question.reference_steps else None


def observation_preview(path: Path | None, config: Config | None) -> Preview | None:
    """What scoring a file of `fit_pomdp` takes; None: no model is asked."""
    if path is None or path.suffix != ".jsonl":
        return None
    return judging_preview([config or load_config(None)], read_processbench(path))


async def _observation(path: Path, config: Config, models: Models, max_cost: float | None) -> Mapping[str, FloatArray]:
    """Scores by state from a file of points, or from labelled solutions that the configured PRM scores."""
    if path.suffix != ".jsonl":
        return read_points(path)
    if identities(config)["prm"] != models.prm:
        raise ConfigError(f"the traces were scored by {models.prm}: --config must name it to score {path}")
    rows = read_processbench(path)
    found: dict[str, list[tuple[float, float]]] = {state: [] for state in STATES}
    async with AsyncExitStack() as stack:
        limit = stack.enter_context(limited(judge_prices(config), max_cost))
        backends = metered(await stack.enter_async_context(open_backends(config)), limit)
        slots = asyncio.Semaphore(_SCORED_AT_ONCE)

        async def score(row: LabelledSolution) -> None:
            async with slots:
                scores = await backends.prm.score(Question(row.problem), row.steps)
            for state, points in labelled_points(scores.values, row.label).items():
                found[state] += points

        await asyncio.gather(*(score(row) for row in rows))
    return {state: np.array(points).reshape(-1, 2) for state, points in found.items()}
