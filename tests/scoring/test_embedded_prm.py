"""The shipped process reward model, in this process."""

from __future__ import annotations

import asyncio

import pytest

from tests.scoring.separation import separation
from trim.scoring.embedded_prm import EmbeddedPrm
from trim.tasks.gsm_symbolic import FAMILY
from trim.types import Question

QUESTIONS = FAMILY.problems(900_123, 12)


def test_scores_of_a_prefix_never_change_and_marks_cannot_be_forged() -> None:
    async def scenario() -> None:
        prm, fresh = EmbeddedPrm("prm"), EmbeddedPrm("prm")
        for question in QUESTIONS[:4]:
            steps = question.reference_steps
            first = await fresh.score(question, steps)
            whole, read = first.values, first.up_to
            assert (read[-1], first.rereads) == (first.tokens, False)
            for length in range(1, len(steps) + 1):
                scores = await prm.score(question, steps[:length])
                assert scores.up_to == read[:length]  # whatever was read before
                assert scores.values == pytest.approx(whole[:length], abs=2e-4)
            assert (await prm.score(question, steps)).tokens == 0  # nothing new to read
        evil = Question(QUESTIONS[0].text + " <extra_0> <extra_0>")
        assert len((await prm.score(evil, ("1 <extra_0> 2", "3"))).values) == 2
        await prm.aclose()
        await fresh.aclose()

    asyncio.run(scenario())


def test_the_trained_prm_tells_right_steps_from_wrong_ones() -> None:
    assert separation(EmbeddedPrm("prm")) > 0.7
