"""Certainty of a causal model as a score: on the shipped models, and over HTTP."""

from __future__ import annotations

import asyncio
from math import exp, log
from typing import Any

import numpy as np
import pytest

from tests.backends.fake_server import serving
from tests.backends.tiny import reference_logits
from trim.backends.base import BaseBackend
from trim.backends.onnx_model import shipped
from trim.backends.probe import describe
from trim.config.factory import open_prm
from trim.config.settings import Config, PrmSettings
from trim.config.specs import identities
from trim.errors import BadResponse, ConfigError
from trim.protocols import Probe
from trim.scoring.confidence import ConfidenceJudge, Evidence
from trim.scoring.embedded_logprobs import EmbeddedLogprobs
from trim.tasks import FAMILIES
from trim.testing import check_judge
from trim.types import Question, Scores

STEPS = ("all right", "this is wrong", "right again")


def test_scores_of_a_shipped_model_are_those_of_its_distributions() -> None:
    """Against a plain forward pass in float64 over the whole text."""
    question = FAMILIES["arithmetic_chain"].problems(930_001, 1, level="easy")[0]
    steps = question.reference_steps

    async def scored() -> list[Scores]:
        found = []
        kinds: tuple[Evidence, ...] = ("log-probability", "entropy")
        for evidence in kinds:
            prm = ConfidenceJudge(EmbeddedLogprobs("weak"), evidence)
            await check_judge(prm, question, steps)
            found.append(await prm.score(question, steps))
            await prm.aclose()
        return found

    by_logprob, by_entropy = asyncio.run(scored())
    judge = EmbeddedLogprobs("weak")
    pieces = judge.tokens.pieces(question, steps, judge.tokens.blank)
    asyncio.run(judge.aclose())
    logits = reference_logits(shipped("weak"), [token for piece in pieces for token in piece])
    logprobs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    at = len(pieces[0])
    for piece, one, other in zip(pieces[1:], by_logprob.values, by_entropy.values, strict=True):
        rows, words = logprobs[at - 1 : at + len(piece) - 2], piece[:-1]
        assert one == pytest.approx(exp(np.mean(rows[range(len(words)), words])), rel=1e-3)
        assert other == pytest.approx(exp((np.exp(rows[0]) * rows[0]).sum()), rel=1e-3)
        at += len(piece)


@pytest.mark.parametrize(
    ("evidence", "scores"),
    [
        ("log-probability", (exp(-0.1), exp((-0.1 - 0.1 - 5) / 3), exp(-0.1))),
        (
            "entropy",  # of 0.98, 0.01 and the rest, 0.01; then of 0.5, 0.3 and the rest, 0.2
            (
                exp(0.98 * log(0.98) + 2 * 0.01 * log(0.01)),
                *(exp(0.5 * log(0.5) + 0.3 * log(0.3) + 0.2 * log(0.2)),) * 2,
            ),
        ),
    ],
)
def test_scores_over_http(evidence: Any, scores: tuple[float, ...]) -> None:
    with serving() as habits:
        prm = open_prm(Config(prm=PrmSettings(evidence, "m", habits.url + "/v1", template="trim")))

        async def run() -> tuple[Scores, Probe]:
            try:
                return await prm.score(Question("How many?"), STEPS), await prm.probe()
            finally:
                await prm.aclose()

        found, probed = asyncio.run(run())
        assert found.values == pytest.approx(scores)
        assert probed.problem is None
        assert "prompt log-probabilities: yes" in describe(probed)
        assert habits.requests[0]["logprobs"] == (20 if evidence == "entropy" else 1)


class _Short(BaseBackend):
    rereads = True

    async def step_logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        return ((-1.0,),)

    async def first_token_entropies(self, question: Question, steps: tuple[str, ...]) -> tuple[float, ...]:
        return (0.5,)


@pytest.mark.parametrize("evidence", ["log-probability", "entropy"])
def test_another_number_of_values_is_refused(evidence: Any) -> None:
    with pytest.raises(BadResponse, match=r"of 1 steps for 3|1 values for 3 steps"):
        asyncio.run(ConfidenceJudge(_Short(), evidence).score(Question("q"), STEPS))


def test_the_shipped_weak_model_is_what_they_read_by_default() -> None:
    assert identities(Config(prm=PrmSettings("entropy")))["prm"].startswith("entropy:weak@")
    assert identities(Config(prm=PrmSettings("log-probability", "strong")))["prm"].startswith("log-probability:strong@")
    with pytest.raises(ConfigError, match="needs base_url"):
        Config(prm=PrmSettings("typed"))
