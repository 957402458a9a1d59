"""Tasks: where questions come from and how answers are graded. One short file each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trim.errors import TaskError
from trim.steps import StepFormat
from trim.tasks import grading, gsm_symbolic, jsonl
from trim.types import Question

NAMES = ("gsm_symbolic",)


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


def load_task(name: str) -> Task:
    """A task by name, or a JSONL file by path.

    Raises:
        TaskError: no such task or file.
    """
    if name == "gsm_symbolic":
        return Task(
            name,
            lambda count, seed: gsm_symbolic.problems(seed, count),
            gsm_symbolic.final_answer,
            lambda answer, question: gsm_symbolic.grade(answer, question.reference or ""),
            gsm_symbolic.step_labels,
        )
    path = Path(name)
    if not path.is_file():
        raise TaskError(f"no task and no file {name!r}; there are {', '.join(NAMES)} and any .jsonl file")
    questions = jsonl.read_questions(path)
    grader = grading.Grader()

    def take(count: int, seed: int) -> list[Question]:
        return jsonl.choose(questions, count, seed, path)

    def right(answer: str | None, question: Question) -> bool:
        return grader.right(answer, question.reference or "")

    return Task(path.stem, take, grading.final_answer, right, close=grader.close)
