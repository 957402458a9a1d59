"""True labels as scores."""

from __future__ import annotations

import asyncio

from trim.scoring.oracle import OracleJudge
from trim.testing import check_judge
from trim.types import Question, Scores

QUESTION = Question("How many apples?")
STEPS = ("all right", "this is wrong", "right again")


def test_a_score_is_the_label_and_costs_nothing() -> None:
    oracle = OracleJudge(lambda question, steps: tuple("wrong" not in step for step in steps))
    assert asyncio.run(oracle.score(QUESTION, STEPS)) == Scores((1.0, 0.0, 1.0), 0)
    assert oracle.usage.prompt_tokens == 0
    asyncio.run(check_judge(oracle, QUESTION, STEPS))
