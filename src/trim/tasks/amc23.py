"""AMC 2023: 40 problems with whole numbers as answers.

{"id": 0, "problem": "Cities $A$ and $B$ are $45$ miles apart. ...", "answer": 27.0, ...}
"""

from __future__ import annotations

from trim.tasks.benchmark_file import Benchmark, Row, from_qwen
from trim.types import Question


def _question(row: Row, number: int) -> Question:
    return Question(row["problem"], f"{float(row['answer']):g}", f"amc23/{row['id']}")


BENCHMARK = Benchmark(
    "amc23",
    from_qwen("amc23", "43707e1ca784602d8479de24ee8ce36609dbebc46dd152b0b12a46611aa898a4"),
    _question,
)
