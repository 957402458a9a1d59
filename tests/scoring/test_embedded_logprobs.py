"""Log-probabilities from a shipped model."""

from __future__ import annotations

import asyncio

from trim.scoring.confidence import ConfidenceJudge
from trim.scoring.embedded_logprobs import EmbeddedLogprobs
from trim.scoring.likelihood import LikelihoodJudge
from trim.tasks.gsm_symbolic import FAMILY

QUESTIONS = FAMILY.problems(900_123, 12)


def test_a_judge_reads_only_what_is_new() -> None:
    async def scenario() -> None:
        fresh, grown = EmbeddedLogprobs("judge"), EmbeddedLogprobs("judge")
        for question in QUESTIONS[:4]:
            whole = await fresh.step_logprobs(question, question.reference_steps)
            for length in range(1, len(question.reference_steps) + 1):
                assert await grown.step_logprobs(question, question.reference_steps[:length]) == whole[:length]
        await fresh.aclose()
        await grown.aclose()

    asyncio.run(scenario())


def test_what_a_step_takes_does_not_depend_on_what_was_asked_before() -> None:
    async def scenario() -> None:
        source, question = EmbeddedLogprobs("judge"), QUESTIONS[0]
        steps = question.reference_steps
        for judge in (LikelihoodJudge(source), ConfidenceJudge(source, "entropy")):
            whole = await judge.score(question, steps)
            assert not whole.rereads
            for length in range(1, len(steps) + 1):
                assert (await judge.score(question, steps[:length])).up_to == whole.up_to[:length]
        await source.aclose()

    asyncio.run(scenario())
