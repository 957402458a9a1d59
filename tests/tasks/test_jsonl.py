"""Questions from JSONL files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trim.errors import TaskError
from trim.tasks import load_task
from trim.types import Question


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
        ('{"question": "\\ud800", "answer": 1}', "half a character"),
        ("", "no questions"),
    ],
)
def test_bad_jsonl_says_where(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line)
    with pytest.raises(TaskError, match=message):
        load_task(str(path))


def test_ids_of_a_file_are_distinct(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "a", "answer": 1, "id": 7}\n{"question": "b", "answer": 2, "id": "7"}\n')
    with pytest.raises(TaskError, match=r":2: id '7' is already that of line 1"):
        load_task(str(path))
    path.write_text('{"question": "a", "answer": 1, "id": null}\n{"question": "b", "answer": 2, "id": null}\n')
    assert {question.id for question in load_task(str(path)).questions(2, 0)} == {"mine/1", "mine/2"}
