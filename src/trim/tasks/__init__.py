"""Tasks: where questions come from and how answers are graded. One short file each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from trim import plugins
from trim.errors import ConfigError, TaskError
from trim.steps import StepFormat
from trim.tasks import (
    aime,
    amc23,
    arithmetic_chain,
    final_answers,
    grading,
    gsm8k,
    gsm_symbolic,
    jsonl,
    math500,
    minerva_math,
    olympiadbench,
    string_rewriting,
)
from trim.tasks.benchmark_file import Benchmark
from trim.tasks.generated import LEVELS, Family, Level, Split
from trim.types import Question

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY for module in (gsm_symbolic, arithmetic_chain, string_rewriting)
}
"""Endless problems that the shipped models know."""

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        math500.BENCHMARK,
        aime.BENCHMARK,
        aime.OF_2024,
        amc23.BENCHMARK,
        olympiadbench.BENCHMARK,
        minerva_math.BENCHMARK,
        gsm8k.BENCHMARK,
    )
}
"""Public benchmarks, from files."""


DEFAULT_COUNT = 200
"""Questions of a run that asks for no number, where the task has as many."""


@dataclass(frozen=True)
class Task:
    """A source of questions with its way of grading.

    `stream(count, seed)`: distinct questions, made as they are asked for where the task is endless; the same arguments
    give the same ones. `answer(text)`: the final answer of a solution or None. `right(answer, question)`: whether it is
    the reference; may take seconds, never hangs. `step_labels`: which steps are right, where a rule can say so.
    `form`: its `answer` says which step ends a solution. `prepare`: raises `MissingExtra` where grading lacks a
    package; called before the first paid call. `instruction`: a system prompt for models that have none. `size`: how
    many questions there are; None: no end. `default_count`: how many a run takes that asks for no number.
    """

    name: str
    stream: Callable[[int, int], Iterable[Question]]
    answer: Callable[[str], str | None]
    right: Callable[[str | None, Question], bool]
    step_labels: Callable[[Question, Sequence[str]], tuple[bool, ...]] | None = None
    form: StepFormat = field(default_factory=StepFormat)
    close: Callable[[], None] = lambda: None
    prepare: Callable[[], None] = lambda: None
    instruction: str = ""
    size: int | None = None
    default_count: int = DEFAULT_COUNT

    def questions(self, count: int, seed: int) -> list[Question]:
        """All that `stream` gives."""
        return list(self.stream(count, seed))


def load_task(name: str, split: Split = "test") -> Task:
    """A family by name, of one level if the name ends in `:easy`, `:medium` or `:hard`; a benchmark by name, with its
    split behind a colon; a JSONL file by path; or a task of the user's own, a `Task` or what makes one: an entry point,
    `MODULE:NAME` or `FILE.py:NAME`.

    Problems of a family are of this split; those of a file are what they are.

    Raises:
        TaskError: no such task, level, split or file.
        ConfigError: a task of the user's own that cannot be made.
    """
    family, _, part = name.partition(":")
    if family in FAMILIES:
        return _generated(FAMILIES[family], part, name, split)
    if family in BENCHMARKS:
        benchmark = BENCHMARKS[family]
        task = _graded(name, benchmark.read(part), benchmark.answer)
        return replace(task, instruction=benchmark.instruction)
    path = Path(name).expanduser()
    if path.is_file():
        questions = jsonl.read_questions(path)
        return replace(_graded(path.stem, questions, final_answers.final_answer), default_count=len(questions))
    if path.suffix in (".jsonl", ".json"):
        raise TaskError(f"there is no file {name}")
    found = plugins.TASKS.load(name)
    if found is None:
        groups: dict[str, Iterable[str]] = {"generated": FAMILIES, "benchmarks": BENCHMARKS}
        groups |= {"entry points": plugins.TASKS.names()}
        raise TaskError(f"{plugins.TASKS.unknown(name, groups)}; or a .jsonl file that is there")
    made = found if isinstance(found, Task) else plugins.call(found, f"task {name}")
    if not isinstance(made, Task):
        raise ConfigError(f"task {name} gives a {type(made).__name__}, not a trim.tasks.Task")
    return made


def file_of(name: str) -> Path | None:
    """The file that a task is in: JSONL, or the Python file of one of the user's own. None: it comes by its name."""
    if name.partition(":")[0] in {*FAMILIES, *BENCHMARKS}:
        return None
    source, is_python, _ = name.partition(".py:")
    path = Path(source + is_python.rstrip(":")).expanduser()
    return path if path.is_file() else None


def located(name: str) -> str:
    """The name under which a task is found from any folder: that of a file with its whole path."""
    path = file_of(name)
    if path is None:
        return name
    return f"{path.resolve()}{name[name.index('.py:') + 3 :]}" if ".py:" in name else str(path.resolve())


def default_count(name: str) -> int:
    """How many questions of a task a run takes that asks for no number: 200, of fewer all, of a JSONL file all.

    Raises:
        TaskError: no such task.
        ConfigError: a task of the user's own that cannot be made.
    """
    task = load_task(name)
    task.close()
    return task.default_count


def fixed_questions(
    name: str,
    questions: Sequence[Question],
    right: Callable[[str | None, Question], bool],
    answer: Callable[[str], str | None] = final_answers.final_answer,
) -> Task:
    """A task of these questions; a run takes as many of them as it wants, in an order that its seed fixes.

    Args:
        name: for results.
        questions: with references, and with ids or none at all.
        right: whether an answer is the question's.
        answer: the final answer of a solution; without it what follows `####` or is in a box.
    """
    known = [q if q.id else replace(q, id=f"{name}/{number}") for number, q in enumerate(questions)]
    return Task(
        name,
        lambda count, seed: jsonl.choose(known, count, seed, name),
        answer,
        right,
        size=len(known),
        default_count=min(DEFAULT_COUNT, len(known)),
    )


def _graded(name: str, questions: list[Question], answer: Callable[[str], str | None]) -> Task:
    """A task of given questions, its answers graded by number or by math-verify."""
    grader = grading.Grader()

    def right(answer: str | None, question: Question) -> bool:
        return grader.right(answer, question.reference or "")

    return replace(fixed_questions(name, questions, right, answer), close=grader.close, prepare=grader.prepare)


def _generated(family: Family, level: str, name: str, split: Split) -> Task:
    chosen: Level | None = next((known for known in LEVELS if known == level), None)
    if ":" in name and chosen is None:
        raise TaskError(f"task {name!r}: there is no level {level!r}; there are {', '.join(LEVELS)}")

    def take(count: int, seed: int) -> Iterator[Question]:
        return family.distinct(seed, count, split, chosen)

    return Task(name, take, family.answer, family.right, family.step_labels)
