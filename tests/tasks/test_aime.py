"""AIME: whole numbers, with the year in the id."""

from __future__ import annotations

from trim.tasks import aime
from trim.types import Question


def test_rows_become_questions() -> None:
    row = {"ID": "1983-1", "problem": "Let $x$ ...", "solution": 60, "split": "test"}
    assert aime.BENCHMARK.question(row, 0) == Question("Let $x$ ...", "60", "aime/1983-1")
    row = {"id": 60, "problem": "Every morning ...", "answer": "204"}
    assert aime.OF_2024.question(row, 0) == Question("Every morning ...", "204", "aime24/60")


def test_only_the_years_of_2024_can_be_downloaded() -> None:
    assert not any(source.url for source in aime.BENCHMARK.sources.values())
    assert all(source.url for source in aime.OF_2024.sources.values())
