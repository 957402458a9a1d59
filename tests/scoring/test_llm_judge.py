"""Judging steps by asking a chat model, against a real server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.backends.fake_server import listening
from trim.config.factory import open_prm
from trim.config.settings import Config, PrmSettings
from trim.errors import BadResponse
from trim.protocols import Judge
from trim.scoring.llm_judge import GRADE, TYPED, YES_NO, Form, LlmJudge
from trim.testing import check_judge
from trim.types import Question

QUESTION = Question("What is 3 + 4?")
STEPS = ("3 + 4 = 7", "so it is wrong", "#### 7")


@contextmanager
def judge(says: dict[str, tuple[str, list[tuple[str, float]]]]) -> Iterator[tuple[str, list[str]]]:
    """A server that answers by the first word of `says` in the newest step: its address, and what it was asked."""
    asked: list[str] = []

    async def answer(request: Request) -> Response:
        prompt = (await request.json())["messages"][0]["content"]
        asked.append(prompt)
        newest = prompt.split("\n\n")[-2]
        text, chances = next(value for key, value in says.items() if key in newest)
        choice: dict[str, Any] = {"index": 0, "message": {"content": text}}
        if chances:
            top = [{"token": token, "logprob": math.log(chance)} for token, chance in chances]
            choice["logprobs"] = {"content": [{"token": top[0]["token"], "top_logprobs": top}]}
        return JSONResponse({"choices": [choice], "usage": {"prompt_tokens": 50, "completion_tokens": 1}})

    with listening(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])) as url:
        yield f"{url}/v1", asked


@pytest.mark.parametrize(
    ("form", "says", "scores"),
    [
        (YES_NO, {"wrong": ("No.", []), "": ("Yes", [])}, (1.0, 0.0, 1.0)),
        (
            YES_NO,
            {"wrong": ("No", [(" no", 0.6), ("Yes", 0.2), ("Hm", 0.2)]), "": ("Yes", [("yes", 1.0)])},
            (1, 0.25, 1),
        ),
        (GRADE, {"wrong": ("3", []), "": ("9", [("9", 0.5), ("0", 0.5)])}, (0.5, 1 / 3, 0.5)),
    ],
)
def test_scores_are_what_the_answers_are_worth(form: Form, says: Any, scores: tuple[float, ...]) -> None:
    with judge(says) as (url, asked):
        prm = LlmJudge(url, "m", form)

        async def both() -> None:
            first = await prm.score(QUESTION, STEPS[:2])
            whole = await prm.score(QUESTION, STEPS)
            assert whole.values == pytest.approx(scores)
            assert (first.tokens, whole.tokens) == (100, 50)  # earlier steps are not asked about again
            await check_judge(prm, QUESTION, STEPS)
            await prm.aclose()

        asyncio.run(both())
    assert [QUESTION.text in prompt for prompt in asked] == [True] * 3 + [False]  # once a step; then a probe


def test_an_unexpected_answer_is_not_a_score() -> None:
    with judge({"": ("Perhaps", [])}) as (url, _), pytest.raises(BadResponse, match="'Perhaps', not one of yes, no"):
        scored(LlmJudge(url, "m", YES_NO))


@pytest.mark.parametrize("backend", ["yes-no", "grade"])
def test_it_is_a_backend_of_the_configuration(backend: Any) -> None:
    with judge({"": ("9" if backend == "grade" else "Yes", [])}) as (url, _):
        assert scored(open_prm(Config(prm=PrmSettings(backend, "m", url)))) == (1.0, 1.0, 1.0)


def test_a_typed_decision_has_its_own_probability() -> None:
    says: Any = {
        "wrong": ('{"answer": "no", "probability": 0.9}', []),
        "3 + 4": ('{"answer": "yes", "probability": 0.75}', []),
        "": ('{"answer": "yes", "probability": 1}', []),
    }
    with judge(says) as (url, asked):
        assert scored(open_prm(Config(prm=PrmSettings("typed", "m", url)))) == pytest.approx((0.75, 0.1, 1.0))
    assert all("JSON" in prompt for prompt in asked)


@pytest.mark.parametrize(
    "said",
    ["Yes", '{"answer": "maybe", "probability": 1}', '{"answer": "yes", "probability": 7}', '{"answer": "yes"}', "[1]"],
)
def test_a_typed_decision_of_another_type_is_not_a_score(said: str) -> None:
    with judge({"": (said, [])}) as (url, _), pytest.raises(BadResponse, match="json_schema"):
        scored(LlmJudge(url, "m", TYPED))


def scored(prm: Judge) -> tuple[float, ...]:
    async def once() -> tuple[float, ...]:
        try:
            return (await prm.score(QUESTION, STEPS)).values
        finally:
            await prm.aclose()

    return asyncio.run(once())
