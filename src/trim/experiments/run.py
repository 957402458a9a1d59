"""Run policies over questions: concurrent, resumable, one trace a line. The Router does the solving."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from math import fsum, isnan
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from trim import plugins
from trim.atomic import write_json
from trim.errors import ConfigError, TaskError, TraceError
from trim.experiments.conditions import check_same, differences, with_earlier_templates
from trim.experiments.spend_limit import SpendLimit, real_cost
from trim.json_files import read_as
from trim.metrics.curve_summary import Summary, summarise
from trim.metrics.operating_point import OperatingPoint, measured_points, operating_points, point_name
from trim.metrics.run_comparison import Compared, compare_runs
from trim.metrics.tally import Tally
from trim.protocols import Solver
from trim.seeding import sample_seeds
from trim.tasks import Task
from trim.traces import TraceWriter, question_from_json, question_to_json, read_traces
from trim.types import Question, Trace

_MEASURED = 10  # one in so many solutions of a point at most, before the run is announced

Progress = Callable[[str], None]
"""Called with a name for each thing that is done, such as a point's label for each of its solutions."""
ProgressBar = Callable[[int], AbstractContextManager[Progress]]
"""Opens a bar for so many things."""


@contextmanager
def no_bar(total: int) -> Iterator[Progress]:
    """A `ProgressBar` that shows nothing."""
    yield lambda name: None


@dataclass(frozen=True)
class Point:
    """One policy at one parameter, ready to solve."""

    policy: str
    parameter: float | None
    solver: Solver

    @property
    def label(self) -> str:
        """Policy and parameter, such as `threshold 0.5`."""
        return point_name(self.policy, self.parameter)


@dataclass(frozen=True)
class Settings:
    """What a run is about; written beside its traces, so that nothing else is ever mixed in."""

    task: str
    questions: int
    seed: int
    models: dict[str, str]
    generation: dict[str, Any]
    samples: int = 1  # solutions of each question at each point, each with a seed of its own
    conditions: dict[str, Any] = field(default_factory=dict)  # all else that decides what comes out
    accepted: tuple[str, ...] = ()  # differences between this and earlier parts of the run, in words

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed for each sample of a question, the run's own first."""
        return sample_seeds(self.seed, self.samples)

    @property
    def title(self) -> str:
        """The task as reports call it: of a file its name."""
        return Path(self.task).name.removesuffix(".jsonl") if "/" in self.task else self.task

    @property
    def size(self) -> str:
        """How many questions and samples, in words."""
        return f"{self.questions} questions" + (f", {self.samples} samples of each" if self.samples > 1 else "")

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Those of an earlier run.

        Raises:
            ConfigError: there is no `run.json`, or `trim eval` did not write it.
        """
        path = folder / "run.json"
        try:
            return read_as(cls, path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise ConfigError(f"{path} was not written by trim eval ({error}): choose another --out") from None


@dataclass(frozen=True)
class Outlook:
    """What is ahead of a run, as far as its first solutions tell.

    Args:
        points: operating points of the run.
        solutions: that are to be made.
        seconds: they will take.
        cost: in dollars; None: not known.
    """

    points: int
    solutions: int
    seconds: float
    cost: float | None


@dataclass(frozen=True)
class _Work:
    """What the solving of all points has in common."""

    task: Task
    writer: TraceWriter
    concurrency: int
    progress: Progress
    limit: SpendLimit | None


class Run:
    """A folder with `run.json`, `traces.jsonl` and `results.json`.

    Args:
        folder: made if it is not there.
        settings: must be those of the folder's earlier part when resuming.
        resume: continue with what is there; without it a folder with traces is refused.
        accept: keys of `run.json` that may differ from those of the folder's earlier part.

    Raises:
        ConfigError: the folder holds another run, or one that was not asked to be resumed.
    """

    def __init__(self, folder: Path, settings: Settings, *, resume: bool = False, accept: Collection[str] = ()) -> None:
        self.folder = folder
        self.settings = settings
        self.traces = folder / "traces.jsonl"
        self.tallies: dict[tuple[str, float | None], Tally] = {}
        self.torn = ""
        self._summaries: tuple[int, list[Summary]] | None = None  # of so many solutions
        self.stopped = ""  # why the run ended early, in a sentence
        self._texts: dict[str, int] = {}  # question id -> hash of its text, of what was there
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be made: {error.strerror}") from None
        started = self.traces.exists() and self.traces.stat().st_size > 0
        if started and not resume:
            raise ConfigError(f"{folder} holds a run already: --resume continues it, or choose another --out")
        self._check_settings(folder / "run.json", accept, started=started)
        if started:
            self._read()

    @classmethod
    def open(cls, folder: Path) -> Run:
        """A run that is there, as `trim eval` left it.

        Raises:
            ConfigError: it is not the folder of a run.
            TraceError: the traces cannot be read.
        """
        if not folder.is_dir():
            raise ConfigError(f"{folder}: there is no such folder")
        if not (folder / "traces.jsonl").is_file():
            raise ConfigError(f"{folder} has no traces.jsonl: it is not a folder of trim eval")
        return cls(folder, Settings.read(folder), resume=True)

    def _check_settings(self, path: Path, accept: Collection[str], *, started: bool) -> None:
        if started and not path.exists():
            raise ConfigError(f"{self.folder} has traces but no run.json: it cannot be resumed")
        earlier = Settings.read(self.folder) if path.exists() else self.settings
        if not started:  # nothing was done under those settings
            write_json(path, asdict(self.settings))
            return
        if self.settings.conditions:
            told = with_earlier_templates(self.settings.conditions, earlier.conditions)
            self.settings = replace(self.settings, conditions=told)
        mine = {key: value for key, value in asdict(self.settings).items() if key != "accepted"}
        theirs = {key: value for key, value in asdict(earlier).items() if key != "accepted"}
        different = differences(theirs, json.loads(json.dumps(mine)))
        accepted = check_same(self.folder, different, accept, "holds another run")
        policies = earlier.conditions.get("policies", {}) | self.settings.conditions.get("policies", {})
        conditions = self.settings.conditions | ({"policies": policies} if self.settings.conditions else {})
        self.settings = replace(self.settings, conditions=conditions, accepted=(*earlier.accepted, *accepted))
        if asdict(self.settings) != asdict(earlier):
            write_json(path, asdict(self.settings))

    def _read(self) -> None:
        """Count what is there.

        Raises:
            TraceError: a solution is there twice.
        """
        for trace in read_traces(self.traces):
            self._count(trace)
            self._texts[trace.question.id] = _hash(trace.question)
        for (policy, parameter), tally in self.tallies.items():
            solutions = Counter(zip(tally.questions, tally.seeds, strict=True))
            if len(solutions) < len(tally.questions):
                (question, seed), _ = solutions.most_common(1)[0]
                raise TraceError(
                    f"{self.traces}: question {question} with seed {seed} is there twice for {policy} {parameter}"
                )

    def _count(self, trace: Trace) -> None:
        self.tallies.setdefault((trace.policy, trace.parameter), Tally()).add(trace)

    async def add(
        self,
        points: Sequence[Point],
        questions: Iterable[Question],
        task: Task,
        *,
        concurrency: int = 64,
        progress: Progress = lambda name: None,
        announce: Callable[[Outlook], None] = lambda outlook: None,
        limit: SpendLimit | None = None,
    ) -> None:
        """Solve every question at every point, as many samples of it as the settings say, skipping what is there. What
        is done when an error comes stays.

        Args:
            points: policies at parameters.
            questions: read again for every point.
            task: grades.
            concurrency: questions at the same time.
            progress: told of every solution.
            announce: of a long run, told what is ahead once a few solutions of some points are measured.
            limit: on what the run may cost; where it is `reached`, the rest is left for another time.

        Raises:
            BackendError: a model failed and the router's `on_error` says raise.
            TaskError: two of the questions have the same id.
            ConfigError: what is there answers other questions under the same ids.
        """
        # They are read again for every point, from a file: there may be many.
        with TemporaryFile("w+", encoding="ascii", dir=self.folder) as spool:
            self._check_questions(questions, spool)
            with TraceWriter(self.traces) as writer:
                self.torn = str(writer.torn or "")
                for point in points:
                    for _ in range(self.done(point)):
                        progress(point.label)
                work = _Work(task, writer, concurrency, progress, limit)
                await self._measure(points, spool, work, announce)
                for point in points:
                    await self._solve_all(point, self._waiting(point, spool), work)

    def done(self, point: Point) -> int:
        """Solutions that there are of a point."""
        return len(self.tallies.get((point.policy, point.parameter), Tally()).questions)

    async def _measure(
        self, points: Sequence[Point], spool: IO[str], work: _Work, announce: Callable[[Outlook], None]
    ) -> None:
        """Solve a few questions of the first two points, which are the models alone where they are among them, and
        announce what is ahead. In the order of the points, which stays that of the results.
        """
        if not points:
            return
        each = self.settings.questions * self.settings.samples
        few = min(work.concurrency, each // _MEASURED)
        chosen = [point for point in points[:2] if self.done(point) + few < each] if few else []
        seconds, costs = [], []
        for point in chosen:
            before, started, known = self.done(point), time.monotonic(), self.cost(point)
            await self._solve_all(point, islice(self._waiting(point, spool), few), work)
            if count := self.done(point) - before:
                seconds.append((time.monotonic() - started) / count)
                costs.append((self.cost(point) - known) / count)
        left = sum(each - self.done(point) for point in points)
        if seconds and left > 0:
            cost = sum(costs) / len(costs)
            announce(
                Outlook(len(points), left, left * sum(seconds) / len(seconds), None if isnan(cost) else left * cost)
            )

    def cost(self, point: Point) -> float:
        """What the solutions of a point cost so far, in dollars; nan: not known."""
        return fsum(self.tallies.get((point.policy, point.parameter), Tally()).cost)

    def _waiting(self, point: Point, spool: IO[str]) -> Iterator[tuple[Question, int]]:
        """Questions and seeds of which there is no solution yet."""
        tally = self.tallies.get((point.policy, point.parameter), Tally())
        done = set(zip(tally.questions, tally.seeds, strict=True))
        spool.seek(0)
        for line in spool:
            question = question_from_json(json.loads(line))
            yield from ((question, seed) for seed in self.settings.seeds if (question.id, seed) not in done)

    def _check_questions(self, questions: Iterable[Question], spool: IO[str]) -> None:
        """Before anything is paid for, as a trace is found again by its question's id. Writes one line a question."""
        seen: set[str] = set()
        for question in questions:
            if question.id in seen:
                raise TaskError(f"two questions have the id {question.id!r}")
            seen.add(sys.intern(question.id))
            spool.write(json.dumps(question_to_json(question)) + "\n")
            if self._texts.get(question.id, _hash(question)) != _hash(question):
                words = f"question {question.id!r} has another text or reference there"
                raise ConfigError(f"{self.folder} holds another run: {words}")

    async def _solve_all(self, point: Point, waiting: Iterator[tuple[Question, int]], work: _Work) -> None:
        limit, task = work.limit, work.task

        async def solve(question: Question, seed: int) -> Trace:
            trace = await point.solver.route(question, seed=seed)
            with plugins.running(f"task {task.name}"):
                answer = None if trace.failed else task.answer(trace.said)
                right = not trace.failed and await asyncio.to_thread(task.right, answer, question)
            trace = replace(trace, answer=answer, correct=right, policy=point.policy, parameter=point.parameter)
            work.writer.append(trace)
            self._count(trace)
            work.progress(point.label)
            return trace

        async def worker() -> None:
            for question, seed in waiting:
                if limit is None:
                    await solve(question, seed)
                    continue
                async with limit.solution() as costs:
                    if limit.reached:
                        return
                    costs.append(real_cost(await solve(question, seed)))

        if limit is not None:
            limit.begin_point()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(work.concurrency):
                    group.create_task(worker())
        except BaseExceptionGroup as failures:
            first = failures.exceptions[0]
            raise first from first.__cause__

    @property
    def failures(self) -> str:
        """How many solutions failed and how they are treated, in a sentence; empty: none did."""
        failed = sum(tally.failed for tally in self.tallies.values())
        solutions = sum(len(tally.questions) for tally in self.tallies.values())
        if not failed:
            return ""
        return (
            f"{'all' if failed == solutions else failed} of {solutions} solutions failed: a server refused the text, "
            "too long for the model's context or stopped by a content filter; they count as wrong, --resume keeps them"
        )

    @property
    def all_failed(self) -> bool:
        """Whether no solution at all came to an end."""
        solutions = sum(len(tally.questions) for tally in self.tallies.values())
        return 0 < solutions == sum(tally.failed for tally in self.tallies.values())

    def operating_points(self) -> list[OperatingPoint]:
        """Figures of what is done so far."""
        return operating_points(self.tallies)

    def summaries(self) -> list[Summary]:
        """Each policy's curve in a few figures, of what is done so far."""
        done = sum(len(tally.questions) for tally in self.tallies.values())
        if self._summaries is None or self._summaries[0] != done:  # thousands of resamples, for every file and table
            self._summaries = done, summarise(self.tallies)
        return self._summaries[1]

    def write_results(self) -> Path:
        """Write `results.json` from the traces that are there; its path."""
        points = [asdict(point) for point in self.operating_points()]
        summary = [summary.to_json() for summary in self.summaries()]
        measured = [asdict(point) for point in measured_points(self.tallies)]
        results = {"schema": 1, **asdict(self.settings), "operating_points": points, "summary": summary}
        results["measured"] = measured
        path = self.folder / "results.json"
        write_json(path, results)
        return path


def _hash(question: Question) -> int:
    return hash((question.text, question.reference))


def compare_folders(first: Path, second: Path) -> list[Compared]:
    """The differences between two runs over the same questions.

    Raises:
        ConfigError: one is not a run, or they have no operating point with a common question.
        TraceError: traces cannot be read.
    """
    runs = Run.open(first), Run.open(second)
    try:
        return compare_runs(runs[0].tallies, runs[1].tallies)
    except ValueError as error:
        raise ConfigError(f"{first} and {second}: {error}") from None
