"""Questions from a JSONL file: one object a line.

    {"question": "What is 2 + 3?", "answer": "5"}

`problem` and `prompt` are accepted for `question`, `reference` and `target` for `answer`; `id` is optional. A GSM8K
answer ("... #### 5") is cut down to its final answer.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from trim.errors import TaskError
from trim.json_files import parse_json
from trim.tasks.final_answers import final_answer
from trim.types import Question

_QUESTION = ("question", "problem", "prompt")
_ANSWER = ("answer", "reference", "target")


def read_questions(path: Path) -> list[Question]:
    """All questions of a file; of two with the same text and answer the first is kept.

    Raises:
        TaskError: the file cannot be read, or a line is not a question; the message names the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TaskError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        place = error.object[: error.start].count(b"\n") + 1
        raise TaskError(f"{path}:{place}: not UTF-8 text: save the file as UTF-8") from None
    questions: dict[str, Question] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            question = _question(line, path, number)
            if (known := questions.get(question.text)) is not None:
                if known.reference != question.reference:
                    words = f"answer {question.reference!r}, line {lines[known.id]} has {known.reference!r}"
                    raise TaskError(f"{path}:{number}: the same question has two answers: {words}")
                continue
            if question.id in lines:
                raise TaskError(f"{path}:{number}: id {question.id!r} is already that of line {lines[question.id]}")
            lines[question.id] = number
            questions[question.text] = question
    if not questions:
        raise TaskError(f"{path}: no questions in it")
    return list(questions.values())


def choose(questions: list[Question], count: int, seed: int, name: str) -> list[Question]:
    """`count` of the questions, in an order that depends on the seed alone.

    Raises:
        TaskError: there are fewer.
    """
    if count > len(questions):
        raise TaskError(f"{name}: {count} questions asked for (--questions), it has {len(questions)}")
    shuffled = list(questions)
    Random(seed).shuffle(shuffled)
    return shuffled[:count]


def _question(line: str, path: Path, number: int) -> Question:
    where = f"{path}:{number}"
    try:
        row = parse_json(line, whole=int)
    except ValueError as error:
        raise TaskError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise TaskError(f"{where}: a JSON object is needed, not {type(row).__name__}")
    text = _field(row, _QUESTION, where)
    answer = _field(row, _ANSWER, where)
    reference = final_answer(answer) if "####" in answer else answer
    name = _field(row, ("id",), where) if row.get("id") is not None else f"{path.stem}/{number}"
    return Question(text, (reference or answer).strip(), name)


def _field(row: dict[str, Any], names: tuple[str, ...], where: str) -> str:
    for name in names:
        if name in row:
            value = row[name]
            if isinstance(value, bool) or not isinstance(value, str | int | float) or str(value).strip() == "":
                raise TaskError(f"{where}: field {name!r} must be a text or a number, not {_shown(value)}")
            try:
                str(value).encode()
            except UnicodeEncodeError:
                raise TaskError(f"{where}: field {name!r} holds half a character (a lone surrogate)") from None
            return str(value)
    raise TaskError(f"{where}: no field {names[0]!r} (it has {_shown(', '.join(row)) if row else 'none'})")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
