"""MATH-500: answers in LaTeX."""

from __future__ import annotations

from trim.tasks import math500
from trim.types import Question


def test_rows_become_questions() -> None:
    row = {"problem": "Convert ...", "answer": "\\frac{\\pi}{2}", "level": 2, "unique_id": "test/precalculus/807.json"}
    question = Question("Convert ...", "\\frac{\\pi}{2}", "math500/test/precalculus/807.json")
    assert math500.BENCHMARK.question(row, 0) == question
