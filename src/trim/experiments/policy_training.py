"""A learned policy, trained into a folder: opens what it learns from, checks the folder, runs PPO. For `trim train`."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trim.atomic import write_json
from trim.config.factory import open_backends
from trim.config.loading import load_config
from trim.config.resolution import resolve
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError, MissingExtra, TaskError
from trim.experiments.conditions import (
    Conditions,
    check_same,
    conditions,
    differences,
    of_record,
    with_earlier_templates,
    with_templates,
)
from trim.experiments.folder_owner import owned
from trim.experiments.metered_models import metered
from trim.experiments.preview import Preview
from trim.experiments.recording import RecordSettings, open_recording
from trim.experiments.run import ProgressBar, no_bar
from trim.experiments.spend_limit import limited, spent_in
from trim.json_files import parse_json, read_json
from trim.policies import AlwaysStrong
from trim.policies.artifacts import Artifact, Models, Provenance
from trim.policies.learned.features import PriceRange
from trim.policies.learned.policy import PAPER_ACTIONS, Kind
from trim.policies.pomdp import PomdpPolicy
from trim.tasks import load_task
from trim.training.episodes import Source, solve
from trim.training.simulated_source import price_range, simulated, textbook
from trim.training.trackers import require_tracker, tracked
from trim.types import Action, Role

if TYPE_CHECKING:
    from trim.training.ppo import PpoSettings, UpdateMetrics

SourceName = Literal["simulate", "embedded", "config"]
_EARLIER_SETTINGS = {
    "episodes": "total_episodes",
    "batch": "episodes_per_update",
    "epochs": "update_epochs",
    "minibatch": "minibatch_size",
    "rate": "learning_rate",
    "clip": "clip_coef",
    "decay": "gae_lambda",
    "entropy": "ent_coef",
    "last_entropy": "final_ent_coef",
    "critic": "vf_coef",
    "most_gradient": "max_grad_norm",
}
"""Names that version 0.1 wrote into training.json, and today's, so that its trainings can be resumed."""


@dataclass(frozen=True)
class Sizes:
    """How much to train on: solutions to learn from, solutions an update, distinct questions, held-out questions."""

    episodes: int
    batch: int
    questions: int
    validation: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ConfigError(f"--{name} must be at least 1, not {value}")


SIMULATED = Sizes(episodes=50_000, batch=256, questions=50_000, validation=400)
REAL = Sizes(episodes=6_000, batch=128, questions=2_000, validation=100)


def real_sizes(task: str) -> Sizes:
    """`REAL`, or all questions of a task that has fewer, a fifth of them held out.

    Raises:
        TaskError: no such task, or it has a single question.
    """
    opened = load_task(task, "validation")
    opened.close()
    size = opened.size
    if size is None or size >= REAL.questions + REAL.validation:
        return REAL
    if size < 2:
        raise TaskError(f"{task}: training needs two questions at least, one of them held out; it has {size}")
    validation = min(REAL.validation, max(1, size // 5))
    return replace(REAL, questions=size - validation, validation=validation)


@dataclass(frozen=True)
class TrainingPlan:
    """What is trained, and on what.

    Args:
        kind: agg or seq.
        source: simulated models, the shipped pair, or the models of a configuration.
        sizes: see `SIMULATED` and `REAL`.
        fit: of a simulated pair: what `trim fit pomdp` wrote; None: the textbook pair.
        config: of source `config`.
        task: of real models: a family, or a JSONL file. Questions of a family are of a split of their own.
        record: a folder that keeps what real models say, so that nothing is asked for twice.
        start: the folder of another training, whose network this one begins with.
        prices: of a strong token; None: a step costs 0.002 to 0.5 correct answers.
        actions: that the policy may take.
        weak_price: of a weak token, in strong tokens.
        seed: of questions, weights and sampling.
        concurrency: questions at the same time.
        accept: keys of a `run.json` or `training.json` that may differ from those of the folder's earlier part.
        max_cost: dollars that all parts of the training may cost; None: no limit.

    Raises:
        ConfigError: parts that don't go together, or a number out of range.
    """

    kind: Kind
    source: SourceName
    sizes: Sizes
    fit: Path | None = None
    config: Config | None = None
    task: str = "gsm_symbolic"
    record: Path | None = None
    start: Path | None = None
    prices: PriceRange | None = None
    actions: tuple[Action, ...] = PAPER_ACTIONS
    weak_price: float = 0.0
    seed: int = 0
    concurrency: int = 64
    accept: tuple[str, ...] = ()
    max_cost: float | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ConfigError(f"--concurrency must be at least 1, not {self.concurrency}")
        if not 0 <= self.weak_price < math.inf:
            raise ConfigError(f"--weak-price must be a number from 0, not {self.weak_price}")
        if self.source == "simulate" and self.record:
            raise ConfigError("--record goes with models: simulated ones cost nothing")
        if self.source == "simulate" and self.max_cost is not None:
            raise ConfigError("--max-cost goes with models: simulated ones cost nothing")
        if self.source != "simulate" and self.fit:
            raise ConfigError(f"--from goes with --source simulate, not {self.source}")
        if (self.source == "config") is not (self.config is not None):
            raise ConfigError("--source config needs --config trim.toml or --weak and --strong, and only it has them")


@dataclass(frozen=True)
class StrongAlone:
    """The strong model alone on the validation questions: share of right answers, tokens a question and a step."""

    accuracy: float
    tokens: float
    step_tokens: float


@dataclass(frozen=True)
class _Opened:
    """A source, whose models they are, the name of its task, and what else decides what they answer."""

    source: Source
    models: Models
    task: str
    conditions: Conditions = field(default_factory=dict)


async def train_policy(
    plan: TrainingPlan, folder: Path, *, resume: bool = False, tracker: str | None = None, bar: ProgressBar = no_bar
) -> StrongAlone:
    """Train; the policy, metrics.jsonl, training.json and a checkpoint are in the folder afterwards.

    Args:
        plan: what to train.
        folder: made where it is not there.
        resume: continue the training in the folder. The result is that of one that was never interrupted.
        tracker: one of `trim.training.trackers.TRACKERS` that hears of every update too.
        bar: shows how many updates there are.

    Returns:
        What the strong model alone reaches, to compare with.

    Raises:
        MissingExtra: torch is not installed.
        ConfigError: the folder holds another training, or what the plan names is not there.
        SpendReached: it would cost more than it may. `resume` with a higher limit goes on.
    """
    if find_spec("torch") is None:
        raise MissingExtra("torch", "train")
    require_tracker(tracker)
    from trim.training.ppo import PpoSettings, train

    sizes = plan.sizes
    async with AsyncExitStack() as stack:
        stack.enter_context(owned(folder))
        opened = await stack.enter_async_context(_open(plan, folder))
        alone = await _strong_alone(opened.source)
        prices = plan.prices or price_range(alone.step_tokens)
        settings = PpoSettings(
            plan.kind,
            prices,
            plan.actions,
            plan.weak_price,
            total_episodes=sizes.episodes,
            episodes_per_update=sizes.batch,
            seed=plan.seed,
        )
        _check_folder(folder, plan, settings, opened, resume=resume)
        provenance = Provenance(opened.models, opened.task, date.today().isoformat(), sizes.questions)
        start = plan.start / "checkpoint.npz" if plan.start else None
        with tracked(tracker, folder, asdict(settings)) as log, bar(settings.updates) as advance:

            def report(row: UpdateMetrics) -> None:
                log(row)
                share = row.strong_tokens / alone.tokens
                advance(f"reward {row.reward:.3f}, {row.accuracy:.0%} right, strong share {share:.0%}")

            await train(opened.source, settings, folder, provenance, start=start, report=report)
    return alone


@asynccontextmanager
async def _open(plan: TrainingPlan, folder: Path) -> AsyncIterator[_Opened]:
    """Simulated models, or real ones with questions that neither they nor any test have seen."""
    sizes = plan.sizes
    if plan.source == "simulate":
        model, models = textbook(), Models("textbook weak", "textbook strong", "textbook PRM")
        if plan.fit:
            model = PomdpPolicy.load(plan.fit).model
            models = Artifact.load(plan.fit, kind="pomdp").provenance.models
        source = simulated(model, plan.actions, questions=sizes.questions, validation=sizes.validation, seed=plan.seed)
        yield _Opened(source, models, "simulated")
        return
    config, count = plan.config or load_config(None), sizes.questions + sizes.validation
    task = load_task(plan.task, "validation")
    with closing(task), limited(resolve(config).prices, plan.max_cost, folder) as limit:
        task.prepare()
        drawn = task.questions(count, plan.seed)
        if plan.record:
            asked = of_record(config, plan.task)
            about = RecordSettings(f"training on {plan.task}", count, plan.seed, identities(config), conditions=asked)
            models_of = open_recording(config, plan.record, about, accept=plan.accept, limit=limit)
        else:
            models_of = open_backends(config)
        async with models_of as opened:
            backends = opened if plan.record else metered(opened, limit)
            training, held_out = drawn[sizes.validation :], drawn[: sizes.validation]
            router = partial(backends.router, answer=task.form.answer)
            source = Source(task, training, held_out, router, plan.concurrency)
            told = await with_templates(conditions(config, plan.task), backends)
            yield _Opened(source, Models(**identities(config)), plan.task, told)


def training_preview(plan: TrainingPlan, folder: Path) -> Preview:
    """What `train_policy` would do, by the speed of the updates that are in the folder. No model is asked, and nothing
    is written.
    """
    sizes, things = plan.sizes, "solutions to learn from"
    parts = f"{sizes.questions:,} questions, and {sizes.validation:,} held out, which the strong model solves first"
    done, seconds = _progress(folder / "metrics.jsonl")
    about = Preview(things, 1, sizes.episodes, 1, done, (), "", measured=done, parts=parts)
    about = replace(about, seconds=seconds / done * about.to_go if done else None)
    if plan.source == "simulate":
        return replace(about, models=("simulated models",), calls=0, cost=0.0)
    config = plan.config or load_config(None)
    missing = resolve(config).prices.missing
    models = tuple(f"{role}: {name}" for role, name in identities(config).items())
    spent = spent_in(folder)
    cost = None if missing or not done or not spent else spent / done * about.to_go
    return replace(about, models=models, unpriced=missing[0] if missing else "", cost=cost)


def _progress(metrics: Path) -> tuple[int, float]:
    """Solutions that a training has learnt from, and its seconds so far."""
    if not metrics.is_file():
        return 0, 0.0
    try:
        last = parse_json(metrics.read_text("utf-8").splitlines()[-1])
        return int(last["episodes"]), float(last["seconds"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError.reading(metrics, "not the metrics of a training", error) from None


async def _strong_alone(source: Source) -> StrongAlone:
    traces = await solve(source, [(AlwaysStrong(), question) for question in source.validation], seed=0)
    tokens = sum(trace.usage[Role.STRONG].completion_tokens for trace in traces)
    steps = sum(len(trace.steps) for trace in traces)
    right = sum(bool(trace.correct) for trace in traces)
    return StrongAlone(right / len(traces), max(tokens / len(traces), 1.0), max(tokens / max(steps, 1), 1.0))


def _check_folder(folder: Path, plan: TrainingPlan, settings: PpoSettings, opened: _Opened, *, resume: bool) -> None:
    """Make the folder, or see that what is in it is the same training."""
    path = folder / "training.json"
    mine = {
        "settings": asdict(settings),
        "source": plan.source,
        "task": opened.task,
        "models": asdict(opened.models),
        "questions": plan.sizes.questions,
        "validation": plan.sizes.validation,
        "start": str(plan.start) if plan.start else None,
    }
    of_models = opened.conditions
    mine |= {"conditions": of_models} if of_models else {}
    mine = json.loads(json.dumps(mine))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        theirs = read_json(path) if path.exists() else None
        if not isinstance(theirs, dict | None):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if theirs is not None and not resume:
        raise ConfigError(f"{folder} holds a training already: --resume continues it, or choose another --out")
    if theirs is not None:
        if isinstance(named := theirs.get("settings"), dict):
            theirs["settings"] = {_EARLIER_SETTINGS.get(name, name): value for name, value in named.items()}
        if of_models and isinstance(known := theirs.get("conditions"), dict):
            mine["conditions"] = with_earlier_templates(mine["conditions"], known)
        different = differences(theirs, mine)
        if fixed := [key for key in different if key.partition(".")[0] not in ("models", *of_models)]:
            words = "; ".join(f"{key} {different[key]}" for key in fixed)
            raise ConfigError(f"{folder} holds another training: {words}; choose another --out")
        check_same(folder, different, plan.accept, "holds another training")
    write_json(path, mine)
