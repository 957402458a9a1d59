"""Records of everything that the models say, and evaluations that read them in place of the models.

`trim record` asks for everything that any threshold comes by; `trim eval --record` keeps what its policies come by.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from trim.atomic import write_json
from trim.backends.replay_cache import FILE, Record, RecordedGenerator, RecordedJudge
from trim.config.factory import Backends, open_backends
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.experiments.run import ProgressBar, no_bar
from trim.policies import AlwaysStrong, AlwaysWeak, Threshold
from trim.routing.router import Router
from trim.seeding import sample_seeds
from trim.steps import MARKED
from trim.tasks import load_task
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

    def open(self, folder: Path) -> None:
        """Begin a record of this, or see that the folder is one.

        Raises:
            ConfigError: it cannot be made, or holds a record of other settings or something else.
        """
        path = folder / "run.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists() and not (folder / FILE).exists():
                write_json(path, asdict(self))
                (folder / FILE).touch()
        except OSError as error:
            raise ConfigError(f"{folder} cannot hold a record: {error.strerror}") from None
        if (about := RecordSettings.read(folder)) != self:
            raise ConfigError(f"{folder} is a record of {about}, not of {self}: choose another folder")

    @classmethod
    def read(cls, folder: Path) -> RecordSettings:
        """Read it.

        Raises:
            ConfigError: the folder is not a record.
        """
        try:
            if folder.is_dir() and not (folder / FILE).is_file():
                raise ValueError(f"it has no {FILE}")
            return cls(**json.loads((folder / "run.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError.reading(folder, "it is not a folder of trim record", error, kind="folder") from None


@asynccontextmanager
async def open_replay(config: Config, folder: Path) -> AsyncIterator[Backends]:
    """The models of a record. Nothing is read ahead: what a record holds are the steps that were decided on.

    Raises:
        ConfigError: the record is of other models.
    """
    about, names = RecordSettings.read(folder), identities(config)
    if about.models != names:
        raise ConfigError(f"{folder} is a record of {about.models}, not of {names}: give its --config")
    with Record(folder) as record:
        weak, strong = (RecordedGenerator(record, role) for role in (Role.WEAK, Role.STRONG))
        yield Backends(without_lookahead(config), weak, strong, RecordedJudge(record))


@asynccontextmanager
async def open_recording(config: Config, folder: Path, about: RecordSettings) -> AsyncIterator[Backends]:
    """The configured models; what they say is kept in a folder, and nothing is asked for that is there already.

    Args:
        config: the models.
        folder: a new one, or one of the same settings.
        about: what is recorded.

    Raises:
        ConfigError: the folder holds something else.
    """
    about.open(folder)
    with Record(folder) as record:
        async with open_backends(without_lookahead(config)) as backends:
            yield recording(backends, record)


async def record(config: Config, folder: Path, about: RecordSettings, *, bar: ProgressBar = no_bar) -> Path:
    """Explore every question of a task (see `explore`), going on where an earlier call was interrupted.

    Args:
        config: the models.
        folder: for the record.
        about: task, questions, seed and samples.
        bar: shows how many questions there are.

    Returns:
        The file of steps and scores.
    """
    task = load_task(about.task)
    questions = iter(task.stream(about.questions, about.seed))
    try:
        async with open_recording(config.instructed(task.instruction), folder, about) as backends:
            with bar(about.questions) as advance:

                async def worker() -> None:
                    for question in questions:
                        for seed in sample_seeds(about.seed, about.samples):
                            await explore(backends, question, seed, task.form.answer)
                        advance("recorded")

                await asyncio.gather(*(worker() for _ in range(min(_AT_ONCE, about.questions))))
    finally:
        task.close()
    return folder / FILE


def without_lookahead(config: Config) -> Config:
    """The same models, but no step is drafted before the last one is decided on."""
    return replace(config, generation=replace(config.generation, lookahead=0))


def recording(backends: Backends, record: Record) -> Backends:
    """The same models; what they say is kept."""
    weak = RecordedGenerator(record, Role.WEAK, backends.weak)
    strong = RecordedGenerator(record, Role.STRONG, backends.strong)
    return Backends(backends.config, weak, strong, RecordedJudge(record, backends.prm))


async def explore(backends: Backends, question: Question, seed: int, answer: str | None = MARKED) -> int:
    """Solve a question as every threshold would, and by each model alone; returns how many solutions that took.

    The solution stays the same until the threshold passes the lowest score that it kept. So each next threshold is the
    first one above that, and a handful of solutions covers all thresholds.
    """
    for policy in (AlwaysWeak(), AlwaysStrong()):
        await backends.router(policy, answer=answer).route(question, seed=seed)
    solutions, threshold = 2, _LOWEST
    while threshold < 1.0:
        router: Router = backends.router(Threshold(threshold), answer=answer)
        trace = await router.route(question, seed=seed)
        solutions += 1
        kept = [decision.score for decision in trace.decisions if decision.action is Action.CONTINUE]
        lowest = min((score for score in kept if score is not None), default=1.0)
        threshold = math.nextafter(lowest, 2.0)
    return solutions
