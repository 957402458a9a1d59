"""GSM8K (Cobbe et al., arXiv 2110.14168): 1,319 grade-school word problems with numbers as answers.

    {"question": "Janet's ducks lay 16 eggs per day. ...", "answer": "Janet sells <<16-3-4=9>>9 ... #### 18"}

A solution's answer is the last number in its last box, else after its last "####", else after its last "A:" (as in the
solutions that were published with the paper).
"""

from __future__ import annotations

from trim.tasks.benchmark_file import Benchmark, Row, from_qwen
from trim.tasks.final_answers import final_answer
from trim.tasks.spelling import last_number
from trim.types import Question
from trim.visible_text import visible


def answer(text: str) -> str | None:
    """The last number of the answer that a solution marks, without currency sign, unit and thousands separators."""
    said = final_answer(text)
    if said is None:
        _, mark, said = visible(text).rpartition("A:")
        if not mark:
            return None
    return last_number(said)


def _question(row: Row, number: int) -> Question:
    return Question(row["question"], answer(row["answer"]), f"gsm8k/{number}")


BENCHMARK = Benchmark(
    "gsm8k",
    from_qwen("gsm8k", "9f098df7ff4522078d6ccec27a5c38a454790fdb51131bedfaa0e490070d5394"),
    _question,
    answer,
)
