"""OlympiadBench (He et al., arXiv 2402.14008): 675 open-ended English mathematics problems without pictures.

    {"id": 1606, "question": "Xenia and Sergey play the following game. ...", "final_answer": ["2"],
     "is_multiple_answer": false, "unit": null, "answer_type": "Numerical", ...}

A unit is not asked for. Several answers count as a list, in any order.
"""

from __future__ import annotations

from trim.tasks.benchmark_file import Benchmark, Row, from_qwen
from trim.types import Question


def _question(row: Row, number: int) -> Question:
    answer = ", ".join(part.strip().strip("$") for part in row["final_answer"])
    context = f"{row['context']}\n\n" if row["context"] else ""
    return Question(context + row["question"], answer, f"olympiadbench/{row['id']}")


BENCHMARK = Benchmark(
    "olympiadbench",
    from_qwen("olympiadbench", "bb8c1e38a16ea9eacb77530315a674d883f267fbff79183effc53681b4fcc416"),
    _question,
)
