"""The likelihood judge and its fit."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.scoring.separation import separation
from trim.backends.base import BaseBackend
from trim.errors import BadResponse, ConfigError
from trim.scoring.likelihood import LikelihoodJudge, fit_logistic, open_embedded
from trim.types import Question

QUESTION = Question("How many?")


def test_fit_finds_the_coefficients_that_made_the_labels() -> None:
    rng = np.random.default_rng(5)
    values = -rng.exponential(3.0, 20_000)
    labels = rng.random(20_000) < 1 / (1 + np.exp(-(1.3 * values + 3.0)))
    a, b = fit_logistic(values, labels, ridge=0.0)
    assert (a, b) == pytest.approx((1.3, 3.0), rel=0.06)


def test_fit_stays_finite_where_labels_can_be_separated() -> None:
    a, b = fit_logistic([-5.0, -4.0, -1.0, -0.5], [0, 0, 1, 1])
    assert 0 < a < 100
    assert np.isfinite(b)
    for values, labels in [([1.0], [1]), ([1.0, 2.0], [1, 1]), ([1.0, 2.0], [1])]:
        with pytest.raises(ConfigError):
            fit_logistic(values, labels)


@pytest.mark.parametrize("seed", [94, 120, 146, 237])
def test_fit_converges_where_labels_are_nearly_separable(seed: int) -> None:
    """Whole Newton steps went astray on these and gave a slope of the wrong sign."""
    rng = np.random.default_rng(seed)
    labels = rng.random(5000) < rng.uniform(0.6, 0.97)
    likely, unlikely = -rng.exponential(rng.choice([0.02, 0.1, 0.3]), 5000), -rng.exponential(3.0, 5000)
    a, b = fit_logistic(np.maximum(np.where(labels, likely, unlikely), -3.0), labels)
    assert a > 1
    assert b > 0


class _Short(BaseBackend):
    rereads = True

    async def step_logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        return ((-1.0,),)

    async def first_token_entropies(self, question: Question, steps: tuple[str, ...]) -> tuple[float, ...]:
        return (0.5,)


def test_wrong_numbers_and_slopes_are_refused() -> None:
    with pytest.raises(BadResponse, match="1 steps for 2"):
        asyncio.run(LikelihoodJudge(_Short()).score(QUESTION, ("a", "b")))
    with pytest.raises(ConfigError, match="slope"):
        LikelihoodJudge(_Short(), (-1.0, 0.0))


def test_a_model_in_this_process_reads_a_step_once() -> None:
    async def scenario() -> None:
        judge = open_embedded()
        whole = await judge.score(QUESTION, ("2 + 3 = 5", "5 * 2 = 10"))
        part = await judge.score(QUESTION, ("2 + 3 = 5",))
        assert (whole.up_to[0], whole.up_to[1], whole.rereads) == (part.tokens, whole.tokens, False)
        await judge.aclose()

    asyncio.run(scenario())


def test_the_default_scorer_tells_right_steps_from_wrong_ones() -> None:
    assert separation(open_embedded()) > 0.95
