"""Log-probabilities of given text from a server."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from tests.backends.fake_server import serving
from trim.backends.probe import describe
from trim.errors import BackendError
from trim.prompts import load_template
from trim.protocols import Probe
from trim.scoring.confidence import ConfidenceJudge
from trim.scoring.likelihood import LikelihoodJudge
from trim.scoring.prompt_logprobs import OpenAILogprobs
from trim.types import Question

QUESTION = Question("How many?")


def test_scores_over_http_with_steps_cut_at_the_right_places() -> None:
    with serving() as habits:

        async def run() -> Any:
            source = OpenAILogprobs(habits.url + "/v1", "m", load_template("trim"), retries=0)
            scorer = LikelihoodJudge(source, (1.0, 2.0))
            steps = ("all right", "this is wrong", "right again")
            found = await source.step_logprobs(QUESTION, steps), await scorer.score(QUESTION, steps)
            probed = await scorer.probe()
            await scorer.aclose()
            return *found, probed

        logprobs, scores, probed = asyncio.run(run())
        assert logprobs == ((-0.1, -0.1), (-0.1, -0.1, -5.0), (-0.1, -0.1))
        assert scores.values == pytest.approx((1 / (1 + np.exp(-1.9)), 1 / (1 + np.exp(3)), 1 / (1 + np.exp(-1.9))))
        assert scores.tokens == 7
        assert probed.problem is None
        assert "prompt log-probabilities: yes" in describe(probed)
        assert habits.requests[0]["echo"]


def test_a_server_without_prompt_logprobs_says_so() -> None:
    with serving(statuses=[400] * 9) as habits:
        source = OpenAILogprobs(habits.url + "/v1", "m", load_template("trim"), retries=0)

        async def run() -> Probe:
            try:
                return await LikelihoodJudge(source).probe()
            finally:
                await source.aclose()

        assert asyncio.run(run()).problem


STEPS = ("all right", "this is wrong", "right again")


def test_a_server_that_echoes_nothing_is_an_error_not_a_score() -> None:
    with serving(statuses=[400] * 9) as habits:
        source = OpenAILogprobs(habits.url + "/v1", "m", load_template("trim"), retries=0)

        async def run() -> None:
            try:
                await ConfidenceJudge(source, "entropy").score(Question("How many?"), STEPS)
            finally:
                await source.aclose()

        with pytest.raises(BackendError, match="likelihood model m"):
            asyncio.run(run())
