"""Minerva Math: the reference is in the box of the solution."""

from __future__ import annotations

from trim.tasks import minerva_math
from trim.types import Question


def test_the_reference_is_the_boxed_answer_of_the_solution() -> None:
    row = {"problem": "Each of the two ...", "solution": "Start with: ... \\boxed{1.6}$ ...", "idx": 0}
    assert minerva_math.BENCHMARK.question(row, 9) == Question("Each of the two ...", "1.6", "minerva_math/0")
