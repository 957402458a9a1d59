"""Tasks: where questions come from and how answers are graded. One short file each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trim.errors import TaskError
from trim.steps import StepFormat
from trim.tasks import arithmetic_chain, grading, gsm_symbolic, jsonl, string_rewriting
from trim.tasks.generated import LEVELS, Family, Level, Split
from trim.types import Question

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY for module in (gsm_symbolic, arithmetic_chain, string_rewriting)
}
"""Endless problems that the shipped models know."""


@dataclass(frozen=True)
class Task:
    """A source of questions with its way of grading.

    `questions(count, seed)`: distinct questions; the same arguments give the same ones. `answer(text)`: the final
    answer of a solution or None. `right(answer, question)`: whether it is the reference; may take seconds, never
    hangs. `step_labels`: which steps are right, where a rule can say so.
    """

    name: str
    questions: Callable[[int, int], list[Question]]
    answer: Callable[[str], str | None]
    right: Callable[[str | None, Question], bool]
    step_labels: Callable[[Question, Sequence[str]], tuple[bool, ...]] | None = None
    form: StepFormat = field(default_factory=StepFormat)
    close: Callable[[], None] = lambda: None


def load_task(name: str, split: Split = "test") -> Task:
    """A family by name, of one level if the name ends in `:easy`, `:medium` or `:hard`, or a JSONL file by path.

    Problems of a family are of this split; those of a file are what they are.

    Raises:
        TaskError: no such task, level or file.
    """
    family, _, level = name.partition(":")
    if family in FAMILIES:
        return _generated(FAMILIES[family], level, name, split)
    path = Path(name)
    if not path.is_file():
        raise TaskError(f"no task and no file {name!r}; there are {', '.join(FAMILIES)} and any .jsonl file")
    questions = jsonl.read_questions(path)
    grader = grading.Grader()

    def take(count: int, seed: int) -> list[Question]:
        return jsonl.choose(questions, count, seed, path)

    def right(answer: str | None, question: Question) -> bool:
        return grader.right(answer, question.reference or "")

    return Task(path.stem, take, grading.final_answer, right, close=grader.close)


def _generated(family: Family, level: str, name: str, split: Split) -> Task:
    chosen: Level | None = next((known for known in LEVELS if known == level), None)
    if ":" in name and chosen is None:
        raise TaskError(f"task {name!r}: there is no level {level!r}; there are {', '.join(LEVELS)}")

    def take(count: int, seed: int) -> list[Question]:
        return family.problems(seed, count, split, chosen)

    return Task(name, take, family.answer, family.right, family.step_labels)
