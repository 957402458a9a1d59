"""Loading of tasks by name, level and split."""

from __future__ import annotations

import pytest

from trim.errors import TaskError
from trim.tasks import arithmetic_chain, load_task


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
