"""Where questions come from."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from trim.errors import TaskError
from trim.tasks import gsm_symbolic as gsm
from trim.tasks import load_task
from trim.types import Question


def test_problems_repeat_and_shorter_lists_are_prefixes() -> None:
    first = gsm.problems(900_000, 40)
    assert first == gsm.problems(900_000, 40)
    assert first[:10] == gsm.problems(900_000, 10)
    assert len({question.text for question in first}) == 40
    assert first != gsm.problems(900_001, 40)


def test_splits_are_disjoint_by_text() -> None:
    texts = {
        split: {question.text for seed in (1, 2) for question in islice(gsm.stream(seed, split), 1500)}
        for split in ("train", "validation", "test")
    }
    assert not texts["train"] & texts["test"]
    assert not texts["train"] & texts["validation"]
    assert not texts["validation"] & texts["test"]


def test_reference_solutions_are_right_by_their_own_rules() -> None:
    for question in islice(gsm.stream(3, "test"), 500):
        solution = "\n\n".join(question.reference_steps)
        assert gsm.grade(gsm.final_answer(solution), question.reference or "")
        assert all(gsm.step_labels(question, question.reference_steps))


def test_step_labels() -> None:
    question = Question("q", "7", reference_steps=("2 + 2 = 4", "4 + 3 = 7", "#### 7"))
    assert gsm.step_labels(question, ["2 + 2 = 4", "so 4 + 3 = 7", "#### 7"]) == (True, True, True)
    assert gsm.step_labels(question, ["2 + 2 = 5", "4 + 3 = 7", "#### 7"]) == (False, False, False)
    assert gsm.step_labels(question, ["2 + 2 = 4", "#### 4"]) == (True, False)
    assert gsm.step_labels(question, ["2 + 2 = 4", "4 + 3 = 7", "#### 7", "more"]) == (True, True, True, False)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 12", "12"),
        ("#### $1,200.", "1200"),
        ("####-3", "-3"),
        ("#### 1\n#### 2", "2"),
        ("12", None),
        ("####", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert gsm.final_answer(text) == answer


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"question": "2+3?", "answer": 5},
        {"problem": "What?", "reference": "x", "id": "a"},
        {"question": "long", "answer": "first 2\n#### 1,000"},
        {"question": "2+3?", "answer": 5},
    ]
    path.write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in rows), "utf-8")
    task = load_task(str(path))
    questions = task.questions(3, 1)
    assert {question.text: question.reference for question in questions} == {"2+3?": "5", "What?": "x", "long": "1,000"}
    assert task.right(task.answer(r"so \boxed{5}"), Question("", "5"))
    with pytest.raises(TaskError, match="4 questions asked for"):
        task.questions(4, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":1: not JSON"),
        ("[1]", "object"),
        ('{"question": "a"}', "no field 'answer'"),
        ('{"question": 1, "answer": null}', "must be a text"),
        ("", "no questions"),
    ],
)
def test_bad_jsonl_says_where(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line)
    with pytest.raises(TaskError, match=message):
        load_task(str(path))


def test_an_unknown_task_lists_what_there_is() -> None:
    with pytest.raises(TaskError, match="gsm_symbolic"):
        load_task("gsm")


def test_ids_of_a_file_are_distinct(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "a", "answer": 1, "id": 7}\n{"question": "b", "answer": 2, "id": "7"}\n')
    with pytest.raises(TaskError, match=r":2: id '7' is already that of line 1"):
        load_task(str(path))
    path.write_text('{"question": "a", "answer": 1, "id": null}\n{"question": "b", "answer": 2, "id": null}\n')
    assert {question.id for question in load_task(str(path)).questions(2, 0)} == {"mine/1", "mine/2"}
