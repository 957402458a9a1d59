"""Records of everything that the models say, and evaluations that read them in place of the models.

`trim record` asks for everything that any threshold comes by; `trim eval --record` keeps what its policies come by.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from trim.atomic import write_json
from trim.backends.replay_cache import FILE, Record, RecordedGenerator, RecordedJudge
from trim.baselines.step_level.take_over import TakeOver
from trim.config.factory import Backends, open_backends
from trim.config.resolution import resolve
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.experiments.conditions import check_same, differences, of_record, with_earlier_templates, with_templates
from trim.experiments.folder_owner import owned
from trim.experiments.metered_models import metered
from trim.experiments.preview import Preview
from trim.experiments.run import ProgressBar, no_bar
from trim.experiments.spend_limit import SpendLimit
from trim.json_files import read_as
from trim.policies import AlwaysStrong, AlwaysWeak, Threshold
from trim.seeding import sample_seeds
from trim.steps import MARKED
from trim.tasks import load_task, located
from trim.types import Action, Question, Role

_AT_ONCE = 16  # questions
_LOWEST = 1e-9  # a threshold that keeps every draft with a score above 0


@dataclass(frozen=True)
class RecordSettings:
    """What a record is of; `run.json` in its folder."""

    task: str
    questions: int
    seed: int
    models: dict[str, str]
    samples: int = 1
    conditions: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, task: str, questions: int, seed: int, samples: int = 1) -> Self:
        """A record of these models, which are asked in this way."""
        return cls(located(task), questions, seed, identities(config), samples, of_record(config, task))

    def open(self, folder: Path, accept: Collection[str] = ()) -> None:
        """Begin a record of this, or see that the folder is one.

        Raises:
            ConfigError: it cannot be made, or holds a record of other settings than may differ, or something else.
        """
        path = folder / "run.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists() and not (folder / FILE).exists():
                write_json(path, asdict(self))
                (folder / FILE).touch()
        except OSError as error:
            raise ConfigError(f"{folder} cannot hold a record: {error.strerror}") from None
        earlier, now = asdict(RecordSettings.read(folder)), json.loads(json.dumps(asdict(self)))
        now["conditions"] = with_earlier_templates(now["conditions"], earlier["conditions"])
        check_same(folder, differences(earlier, now), accept, "is a record of something else")
        if now != earlier:
            write_json(path, now)

    @classmethod
    def read(cls, folder: Path) -> RecordSettings:
        """Read it.

        Raises:
            ConfigError: the folder is not a record.
        """
        try:
            if folder.is_dir() and not (folder / FILE).is_file():
                raise ValueError(f"it has no {FILE}")
            return read_as(cls, folder / "run.json")
        except (OSError, ValueError) as error:
            raise ConfigError.reading(folder, "it is not a folder of trim record", error, kind="folder") from None


@asynccontextmanager
async def open_replay(config: Config, folder: Path, accept: Collection[str] = ()) -> AsyncIterator[Backends]:
    """The models of a record. Nothing is read ahead: what a record holds are the steps that were decided on.

    Raises:
        ConfigError: the record is of other models.
    """
    about, names = RecordSettings.read(folder), identities(config)
    if about.models != names:
        raise ConfigError(f"{folder} is a record of {about.models}, not of {names}: give its --config")
    if about.conditions:
        now = of_record(config, about.task)
        different = differences(about.conditions, now)
        check_same(folder, different, (*accept, "trim", "task_file"), "is a record of something else")
    with Record(folder, writable=False) as record:
        weak, strong = (RecordedGenerator(record, role) for role in (Role.WEAK, Role.STRONG))
        yield Backends(without_lookahead(config), weak, strong, RecordedJudge(record))


@asynccontextmanager
async def open_recording(
    config: Config,
    folder: Path,
    about: RecordSettings,
    *,
    accept: Collection[str] = (),
    limit: SpendLimit | None = None,
) -> AsyncIterator[Backends]:
    """The configured models; what they say is kept in a folder, and nothing is asked for that is there already.

    Args:
        config: the models.
        folder: a new one, or one of the same settings.
        about: what is recorded.
        accept: keys of `run.json` that may differ from those of the folder's earlier part.
        limit: on what is asked for.

    Raises:
        ConfigError: the folder holds something else, or another process works in it.
    """
    with owned(folder, "cannot hold a record"):
        about.open(folder, accept)  # what can be wrong is said before a model is opened
        with Record(folder) as record:
            async with open_backends(without_lookahead(config)) as backends:
                told = await with_templates(about.conditions, backends)
                replace(about, conditions=told).open(folder, accept)
                yield recording(metered(backends, limit), record)


async def record(
    config: Config,
    folder: Path,
    about: RecordSettings,
    *,
    accept: Collection[str] = (),
    bar: ProgressBar = no_bar,
    limit: SpendLimit | None = None,
) -> Path:
    """Explore every question of a task (see `explore`), going on where an earlier call was interrupted.

    Args:
        config: the models.
        folder: for the record.
        about: task, questions, seed and samples.
        accept: keys of `run.json` that may differ from those of the folder's earlier part.
        bar: shows how many questions there are.
        limit: on what this call may cost; where it is `reached`, the rest is left for another call.

    Returns:
        The file of steps and scores.
    """
    task = load_task(about.task)
    questions, config = iter(task.stream(about.questions, about.seed)), config.instructed(task.instruction)
    about = replace(about, conditions=of_record(config, about.task))
    try:
        async with open_recording(config, folder, about, accept=accept, limit=limit) as backends:
            with bar(about.questions) as advance:

                async def solve(question: Question) -> None:
                    for seed in sample_seeds(about.seed, about.samples):
                        await explore(backends, question, seed, task.form.answer)
                    advance("recorded")

                count = itertools.count(1)

                async def worker() -> None:
                    for question in questions:
                        if limit is None:
                            await solve(question)
                            continue
                        async with limit.solution() as costs:
                            if limit.reached:
                                return
                            begun = next(count)
                            await solve(question)
                            costs.append(limit.spent / begun)  # the mean of those at the same time

                await asyncio.gather(*(worker() for _ in range(min(_AT_ONCE, about.questions))))
    finally:
        task.close()
    return folder / FILE


def record_preview(config: Config, about: RecordSettings) -> Preview:
    """What `record` would do, of a new folder. No model is asked, and nothing is written."""
    models = tuple(f"{role}: {name}" for role, name in about.models.items())
    missing = resolve(config).prices.missing
    things = "recorded questions (both models alone, and what any threshold comes by)"
    return Preview(things, 1, about.questions, about.samples, 0, models, missing[0] if missing else "")


def without_lookahead(config: Config) -> Config:
    """The same models, but no step is drafted before the last one is decided on."""
    return replace(config, generation=replace(config.generation, lookahead=0))


def recording(backends: Backends, record: Record) -> Backends:
    """The same models; what they say is kept."""
    weak = RecordedGenerator(record, Role.WEAK, backends.weak)
    strong = RecordedGenerator(record, Role.STRONG, backends.strong)
    return Backends(backends.config, weak, strong, RecordedJudge(record, backends.prm))


async def explore(backends: Backends, question: Question, seed: int, answer: str | None = MARKED) -> int:
    """Solve a question as every threshold would, by each model alone, and as the strong model ends it after each draft
    that a threshold is the first to reject; returns how many solutions that took.

    The solution stays the same until the threshold passes the lowest score that it kept. So each next threshold is the
    first one above that, and a handful of solutions covers all thresholds.
    """
    for policy in (AlwaysWeak(), AlwaysStrong()):
        await backends.router(policy, answer=answer).route(question, seed=seed)
    solutions, threshold, taken_over = 2, _LOWEST, -1
    while threshold < 1.0:
        trace = await backends.router(Threshold(threshold), answer=answer).route(question, seed=seed)
        solutions += 1
        actions = [decision.action for decision in trace.decisions]
        first = next((step for step, action in enumerate(actions) if action is not Action.CONTINUE), -1)
        if first != taken_over:
            await backends.router(TakeOver(threshold), answer=answer).route(question, seed=seed)
            solutions, taken_over = solutions + 1, first
        kept = [decision.score for decision in trace.decisions if decision.action is Action.CONTINUE]
        lowest = min((score for score in kept if score is not None), default=1.0)
        threshold = math.nextafter(lowest, 2.0)
    return solutions
