r"""Minerva Math (Lewkowycz et al., arXiv 2206.14858): 272 problems from MIT courses.

    {"problem": "Each of the two Magellan telescopes ...", "solution": "Start with: ... \\boxed{1.6}$ ...", "idx": 0}

The reference is the content of the solution's box.
"""

from __future__ import annotations

from trim.tasks.benchmark_file import Benchmark, Row, from_qwen
from trim.tasks.final_answers import final_answer
from trim.types import Question


def _question(row: Row, number: int) -> Question:
    return Question(row["problem"], final_answer(row["solution"]), f"minerva_math/{row['idx']}")


BENCHMARK = Benchmark(
    "minerva_math",
    from_qwen("minerva_math", "0e656b430d3a0a1dab6aa853f453ba3805e28e2cabe4fc72486a897cc09d8ba2"),
    _question,
)
