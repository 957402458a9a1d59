"""Questions for simulated models, which derive a question's difficulty and length from its text.

Question("simulated question 0-17", "right", "simulated/0-17")
"""

from __future__ import annotations

from collections.abc import Iterator

from trim.tasks import Task
from trim.types import Question


def _questions(count: int, seed: int) -> Iterator[Question]:
    return (Question(f"simulated question {seed}-{i}", "right", f"simulated/{seed}-{i}") for i in range(count))


def _answer(text: str) -> str | None:
    return text.rpartition("#### ")[2] or None


TASK = Task("simulated", _questions, _answer, lambda found, question: found == question.reference)
"""Solutions of simulated models end with `#### right` or `#### wrong`."""
