"""Loading of tasks by name, level and split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trim.errors import TaskError
from trim.experiments.policy_training import REAL, real_sizes
from trim.tasks import arithmetic_chain, default_count, file_of, fixed_questions, load_task, located
from trim.types import Question


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


def test_a_run_that_asks_for_no_number_takes_what_there_is(tmp_path: Path) -> None:
    few = [Question(f"{n} + 1", str(n + 1)) for n in range(300)]
    assert fixed_questions("few", few[:3], lambda answer, question: True).default_count == 3
    assert fixed_questions("many", few, lambda answer, question: True).default_count == 200
    file = tmp_path / "own.jsonl"
    file.write_text("".join(f'{{"question": "{q.text}", "answer": "1"}}\n' for q in few))
    assert default_count(str(file)) == 300
    assert default_count("gsm_symbolic") == 200
    assert real_sizes(str(file)) == replace(REAL, questions=240, validation=60)
    assert real_sizes("gsm_symbolic") == REAL


def test_a_task_in_a_file_has_a_name_that_holds_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("own.jsonl", "own.py"):
        Path(file).write_text("")
    assert located("own.jsonl") == str(tmp_path / "own.jsonl")
    assert located("own.py:MINE") == f"{tmp_path / 'own.py'}:MINE"
    for name in ("gsm_symbolic:easy", "math500", "absent.jsonl", "module:MINE"):
        assert located(name) == name
        assert file_of(name) is None
