"""AIME 1983-2024, split as in the TRIM paper: `aime:train` to fit on, `aime:test` (default) to report; and AIME 2024.

    {"ID": "1983-1", "problem": "Let $x$, $y$ and $z$ all exceed $1$ ...", "solution": "60", "split": "test", ...}

Answers are whole numbers from 0 to 999. The split has no public address: put its files into the data folder.
"""

from __future__ import annotations

from trim.tasks.benchmark_file import Benchmark, Row, Source, from_qwen
from trim.types import Question


def _question(row: Row, number: int) -> Question:
    return Question(row["problem"], str(row["solution"]), f"aime/{row['ID']}")


def _question_of_2024(row: Row, number: int) -> Question:
    return Question(row["problem"], str(row["answer"]), f"aime24/{row['id']}")


BENCHMARK = Benchmark(
    "aime",
    {
        "test": Source("aime_test.jsonl", "af48ea7504c649d5a988726df1e7275a24b02b6e77fea8373c440fd562fa5776"),
        "train": Source("aime_train.jsonl", "de7ba749a3d556343b4ffa57493ad97b308f65a2efad91d6aa303c63764b94f4"),
    },
    _question,
)

OF_2024 = Benchmark(
    "aime24",
    from_qwen("aime24", "af2b8bd2aa911b6333ad0df32f3ca05c7ae8ed10f1731f4372c8ae26990bf7ac"),
    _question_of_2024,
)
