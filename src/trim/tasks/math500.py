r"""MATH-500 (Lightman et al., arXiv 2305.20050): 500 problems of the MATH test set.

{"problem": "Convert the point $(0,3)$ ...", "answer": "\\left( 3, \\frac{\\pi}{2} \\right)", "level": 2,
 "unique_id": "test/precalculus/807.json", ...}
"""

from __future__ import annotations

from trim.tasks.benchmark_file import Benchmark, Row, Source
from trim.types import Question


def _question(row: Row, number: int) -> Question:
    return Question(row["problem"], str(row["answer"]), f"math500/{row['unique_id']}")


BENCHMARK = Benchmark(
    "math500",
    {
        "test": Source(
            "math500_test.jsonl",
            "35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
            "https://huggingface.co/datasets/HuggingFaceH4/MATH-500/resolve/main/test.jsonl",
        )
    },
    _question,
)
