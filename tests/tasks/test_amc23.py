"""AMC 2023: answers are whole numbers that the file holds as floats."""

from __future__ import annotations

from trim.tasks import amc23
from trim.types import Question


def test_rows_become_questions() -> None:
    row = {"id": 0, "problem": "Cities $A$ and $B$ ...", "answer": 27.0}
    assert amc23.BENCHMARK.question(row, 5) == Question("Cities $A$ and $B$ ...", "27", "amc23/0")
