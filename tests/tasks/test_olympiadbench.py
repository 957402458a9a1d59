"""OlympiadBench: several answers are a list, dollar signs removed."""

from __future__ import annotations

from trim.tasks import olympiadbench
from trim.types import Question


def test_rows_become_questions() -> None:
    row = {"id": 1606, "question": "Xenia ...", "final_answer": ["$2$", "3"], "context": None}
    assert olympiadbench.BENCHMARK.question(row, 0) == Question("Xenia ...", "2, 3", "olympiadbench/1606")
    with_context = olympiadbench.BENCHMARK.question(row | {"context": "A game."}, 0)
    assert with_context is not None
    assert with_context.text == "A game.\n\nXenia ..."
