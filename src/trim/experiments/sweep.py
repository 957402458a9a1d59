"""What `trim eval` runs: the operating points that were asked for, here or on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trim.config.factory import Backends, open_backends
from trim.config.policy import open_policy
from trim.config.settings import Config
from trim.errors import ConfigError
from trim.experiments.metered_models import metered
from trim.experiments.policy_points import PolicyPoints
from trim.experiments.recording import RecordSettings, open_recording, open_replay
from trim.experiments.run import Point
from trim.experiments.spend_limit import SpendLimit
from trim.policies import FAMILIES, AlwaysStrong, AlwaysWeak, PolicySpec
from trim.tasks import Task, load_task
from trim.traces import read_traces


@dataclass(frozen=True)
class EvaluationPlan:
    """Everything that decides which operating points there are and what they are run on.

    Args:
        config: models and limits.
        task: name or file.
        policies: names, some with `=FOLDER`.
        parameters: `POLICY=NUMBER,NUMBER,...` instead of a policy's sweep.
        questions: how many.
        seed: of questions and sampling.
        samples: solutions of each question at each point.
        score: have drafts scored also where no policy asks.
        concurrency: questions at the same time.
        recorded: traces whose whole solutions query-level baselines may take over.
        replay: a folder of `trim record` in place of the models.
        record: a folder of the same kind that keeps what the models say, so that nothing is asked for twice.
        accept: keys of a `run.json` that may differ from those of the folder's earlier part.
    """

    config: Config
    task: str
    policies: tuple[str, ...]
    parameters: tuple[str, ...]
    questions: int
    seed: int
    samples: int = 1
    score: bool = False
    concurrency: int = 64
    recorded: Path | None = None
    replay: Path | None = None
    record: Path | None = None
    accept: tuple[str, ...] = ()

    @asynccontextmanager
    async def open_models(self, limit: SpendLimit | None = None) -> AsyncIterator[Backends]:
        """The models, or the records that stand for them; calls are covered by a limit, if there is one."""
        if self.replay is not None:
            async with open_replay(self.config, self.replay, self.accept) as backends:
                yield backends
        elif self.record is not None:
            about = RecordSettings.of(self.config, self.task, self.questions, self.seed, self.samples)
            recording = open_recording(self.config, self.record, about, accept=self.accept, limit=limit)
            async with recording as backends:
                yield backends
        else:
            async with open_backends(self.config) as backends:
                yield metered(backends, limit)


def names(policies: str) -> tuple[str, ...]:
    """Policies of a comma-separated list, each once."""
    return tuple(dict.fromkeys(name.strip() for name in policies.split(",") if name.strip()))


@asynccontextmanager
async def open_points(
    plan: EvaluationPlan,
    task: Task | None = None,
    backends: Backends | None = None,
    limit: SpendLimit | None = None,
) -> AsyncIterator[list[Point]]:
    """The operating points, weak and strong first, over models that are closed at the end.

    Args:
        plan: what was asked for.
        task: the plan's, where it is open already.
        backends: the plan's models, where they are open already.
        limit: on what calls of judges cost that are opened here.
    """
    async with AsyncExitStack() as stack:
        if task is None:
            task = load_task(plan.task)
            stack.callback(task.close)
        if backends is None:
            backends = await stack.enter_async_context(plan.open_models(limit))
        questions = partial(task.stream, plan.questions, plan.seed)
        makes = PolicyPoints(backends, task, questions, plan.policies, stack, limit)
        points = _points(plan, makes)
        if plan.recorded is not None and plan.recorded.exists():
            makes.remember(read_traces(plan.recorded))
        yield points


def _points(plan: EvaluationPlan, makes: PolicyPoints) -> list[Point]:
    """The operating points that were asked for, weak and strong first."""
    specs = {name: PolicySpec.parse(name) for name in plan.policies}
    if len({spec.unordered for spec in specs.values()}) < len(specs):
        raise ConfigError("--policies names one policy twice: results of two fits belong into two folders")
    chosen = _parameters(plan, tuple(specs.values()))
    points = []
    for name in sorted(plan.policies, key=lambda n: n not in (AlwaysWeak.name, AlwaysStrong.name)):
        points += makes.of(name, chosen.get(specs[name].unordered), score=plan.score)
    if not points:
        raise ConfigError("--policies names none")
    return points


def _parameters(plan: EvaluationPlan, specs: Sequence[PolicySpec]) -> dict[PolicySpec, tuple[float, ...]]:
    """The values of texts such as `threshold=0.1,0.5`, by policy."""
    found: dict[PolicySpec, tuple[float, ...]] = {}
    for text in plan.parameters:
        name, equals, listed = text.rpartition("=")
        try:
            values = tuple(float(value) for value in listed.split(","))
        except ValueError:
            equals, values = "", ()
        if not equals:
            raise ConfigError(f"--parameters {text!r}: write POLICY=NUMBER,NUMBER,...")
        policy = PolicySpec.parse(name).unordered
        if policy not in {spec.unordered for spec in specs}:
            policy = _own(plan.config, specs, name.strip(), values[0])
        found[policy] = (*found.get(policy, ()), *values)
    return found


def _own(config: Config, specs: Sequence[PolicySpec], name: str, parameter: float) -> PolicySpec:
    """The policy of the user's own among `specs` that results call by this name; its class alone knows what that is.

    Raises:
        ConfigError: there is none.
    """
    for spec in specs:
        own = spec.family not in FAMILIES and not spec.family.endswith(".json")
        if own and open_policy(config, spec.name, parameter).name == name:
            return spec.unordered
    raise ConfigError(f"--parameters for {name}, which is not among --policies")
