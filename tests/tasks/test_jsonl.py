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
        ("\n \r\n\n", "no questions"),
        ('{"question": "a", "answer": "1"}\r\n\r\n{"question"', ":3: not JSON"),
        ("[" * 100_000, ":1: not JSON: it nests too deeply"),
        ('{"question": "a", "answer": NaN}', ":1: not JSON: it has a number that is not finite"),
        ('{"question": "a", "answer": 1e999}', ":1: not JSON: it has a number that is not finite"),
        ('{"question": "a", "answer": ' + "9" * 5000 + "}", ":1: not JSON"),
        ('{"question": "a", "answer": "1", "answer": "2"}', "it names 'answer' twice"),
        ('{"question": "a", "answer": [1]}', "must be a text or a number"),
        ('{"question": "a", "answer": 1}\n{"question": "a", "answer": 2}', ":2: the same question has two answers"),
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


def test_a_file_of_another_encoding_says_on_which_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes('{"question": "a", "answer": "1"}\n{"question": "é", "answer": "2"}\n'.encode("latin-1"))
    with pytest.raises(TaskError, match=r"bad\.jsonl:2: not UTF-8 text: save the file as UTF-8"):
        load_task(str(path))
    path.write_bytes('{"question": "a", "answer": "1"}\n'.encode("utf-16"))
    with pytest.raises(TaskError, match=r"bad\.jsonl:1: not UTF-8 text"):
        load_task(str(path))


def test_byte_order_mark_line_ends_and_blank_lines_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    lines = [
        '{"question": "a", "answer": 265252859812191058636308480000000}',
        "",
        '{"question": "b", "answer": "2"}',
        "",
    ]
    for mark in ("", "\ufeff"):
        for end in ("\n", "\r\n"):
            path.write_bytes((mark + end.join(lines)).encode())
            found = load_task(str(path)).questions(2, 0)
            assert {(question.id, question.text, question.reference) for question in found} == {
                ("mine/1", "a", "265252859812191058636308480000000"),
                ("mine/3", "b", "2"),
            }
