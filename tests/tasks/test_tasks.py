"""Tasks by name."""

from __future__ import annotations

import pytest

from trim.errors import TaskError
from trim.tasks import FAMILIES, arithmetic_chain, load_task
from trim.tasks.generated import Split

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)


def test_tasks_of_one_level() -> None:
    task = load_task("arithmetic_chain:hard")
    questions = task.questions(5, 1)
    assert questions == arithmetic_chain.FAMILY.problems(1, 5, level="hard")
    assert all(len(question.reference_steps) >= 14 for question in questions)
    with pytest.raises(TaskError, match="easy, medium, hard"):
        load_task("gsm_symbolic:impossible")


def test_an_unknown_task_lists_what_there_is() -> None:
    with pytest.raises(TaskError, match="gsm_symbolic"):
        load_task("gsm")
