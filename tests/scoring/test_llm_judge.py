"""Judging steps by asking a chat model, against a real server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.backends.fake_server import listening
from tests.routing.models import Scripted, strong, weak
from trim.config.factory import open_prm
from trim.config.settings import Config, PrmSettings
from trim.errors import BackendRefused, BadResponse
from trim.policies import Threshold
from trim.protocols import Judge
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.scoring.llm_judge import GRADE, TYPED, YES_NO, Form, LlmJudge
from trim.testing import check_judge
from trim.types import Finish, Price, Prices, Question, Role, Scores, Trace, Usage

QUESTION = Question("What is 3 + 4?")
STEPS = ("3 + 4 = 7", "so it is wrong", "#### 7")


@contextmanager
def judge(says: dict[str, tuple[str, list[tuple[str, float]]]]) -> Iterator[tuple[str, list[str]]]:
    """A server that answers by the first word of `says` in the newest step: its address, and what it was asked."""
    asked: list[str] = []

    async def answer(request: Request) -> Response:
        prompt = (await request.json())["messages"][0]["content"]
        asked.append(prompt)
        newest = prompt.split("\n\n")[-1]
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


def test_an_answer_that_hardly_stood_there_is_not_a_score() -> None:
    well = choice("Well", [("Well", {"Well": 0.95, "No": 0.04})])
    words = "answered 'Well', not one of yes, no"
    with replying(lambda body: (well, 200)) as (url, _), pytest.raises(BadResponse, match=words):
        scored(LlmJudge(url, "m", YES_NO))


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


Reply = Callable[[dict[str, Any]], tuple[dict[str, Any], int]]


@contextmanager
def replying(reply: Reply) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers a request's body with a choice, or with an error of this status."""
    bodies: list[dict[str, Any]] = []

    async def answer(request: Request) -> Response:
        bodies.append(await request.json())
        found, status = reply(bodies[-1])
        usage = {"prompt_tokens": 50, "completion_tokens": 1}
        return JSONResponse({"choices": [found], "usage": usage} if status == 200 else {"error": found}, status)

    with listening(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])) as url:
        yield f"{url}/v1", bodies


def choice(text: str | None, tokens: list[tuple[str, dict[str, float]]] | None = None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"message": {"content": text} | more.pop("message", {}), "finish_reason": "stop", **more}
    if tokens is not None:
        content = [
            {"token": token, "top_logprobs": [{"token": t, "logprob": math.log(p)} for t, p in top.items()]}
            for token, top in tokens
        ]
        found["logprobs"] = {"content": content}
    return found


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("Yes", 1.0),
        (" yes.", 1.0),
        ("**No**", 0.0),
        ("NO, because", 0.0),
        ("Yes\n\nThe step", 1.0),
        ("<think>\nNo... yes!\n</think>\n\nNo", 0.0),
        ("I wonder. No.</think>Yes", 1.0),  # the template opened the thoughts
        ([{"type": "thinking", "thinking": []}, {"type": "text", "text": "Yes"}], 1.0),
    ],
)
def test_an_answer_is_its_first_word(said: Any, score: float) -> None:
    with replying(lambda body: (choice(said), 200)) as (url, _):
        assert scored(LlmJudge(url, "m", YES_NO)) == (score,) * 3


@pytest.mark.parametrize(
    ("said", "score"), [("7", 7), ("7/9", 7), ("Grade", None), ("10", None), ("7.5", None), ("-7", None)]
)
def test_a_grade_is_one_digit(said: str, score: float | None) -> None:
    with replying(lambda body: (choice(said), 200)) as (url, _):
        if score is None:
            with pytest.raises(BadResponse, match="not one of 0, 1"):
                scored(LlmJudge(url, "m", GRADE))
        else:
            assert scored(LlmJudge(url, "m", GRADE)) == pytest.approx((score / 9,) * 3)


@pytest.mark.parametrize(
    ("found", "score"),
    [
        (choice("Yes", [("Yes", {"Yes": 0.5, " yes": 0.2, "YES": 0.1, "No": 0.1, " no.": 0.1})]), 0.8),
        (choice("Yes", [("\u2581Yes", {"\u2581Yes": 0.6, "\u2581No": 0.4})]), 0.6),
        (choice("**Yes**", [("**", {"**": 0.9, "No": 0.1}), ("Yes", {"Yes": 0.7, "No": 0.3})]), 0.7),
        # The chances of the first thought say nothing about the answer.
        (
            choice(
                "<think>No</think>Yes",
                [
                    ("<think>", {"<think>": 1.0, "No": 1e-9}),
                    ("No", {"No": 1.0}),
                    ("</think>", {}),
                    ("Yes", {"Yes": 0.9, "No": 0.1}),
                ],
            ),
            0.9,
        ),
        # The server's reasoning parser took the thoughts out of the text, not out of the tokens.
        (choice("Yes", [("No", {"No": 1.0}), ("</think>", {}), ("Yes", {"Yes": 0.6, "No": 0.4})]), 0.6),
        (choice("Yes", [("Hm", {"Hm": 0.9, "No": 0.1}), ("Yes", {"Yes": 1.0})]), 1.0),  # not the answer's token
        (choice("Yes", [("Yes", {})]), 1.0),
        (choice("I'm not", [("I", {"I": 0.4, "No": 0.3, "Yes": 0.1})]), 0.25),  # a small model that all but answered
    ],
)
def test_chances_are_those_of_the_answers_own_token(found: dict[str, Any], score: float) -> None:
    with replying(lambda body: (found, 200)) as (url, _):
        assert scored(LlmJudge(url, "m", YES_NO)) == pytest.approx((score,) * 3)


@pytest.mark.parametrize(
    "thinking",
    [
        choice("<think>Okay", finish_reason="length"),
        choice("Okay, so", finish_reason="length"),
        choice(None, finish_reason="length", message={"reasoning_content": "Okay, so"}),
        choice("", finish_reason="length"),
    ],
)
def test_a_model_that_thinks_is_given_room_to(thinking: dict[str, Any]) -> None:
    def reply(body: dict[str, Any]) -> tuple[dict[str, Any], int]:
        return (thinking if body["max_tokens"] < 100 else choice("No")), 200

    with replying(reply) as (url, bodies):
        prm = LlmJudge(url, "m", YES_NO)

        async def both() -> None:
            assert (await prm.score(QUESTION, STEPS[:1])).values == (0.0,)
            assert (await prm.score(QUESTION, STEPS)).values == (0.0,) * 3
            await prm.aclose()

        asyncio.run(both())
        assert [body["max_tokens"] for body in bodies] == [4, 4096, 4096, 4096]
    with (
        replying(lambda body: (choice(None, finish_reason="length"), 200)) as (url, _),
        pytest.raises(BadResponse, match=r"thought for 4096 tokens without an answer.*thinking off"),
    ):
        scored(LlmJudge(url, "m", YES_NO))


def test_what_a_server_refuses_is_left_out() -> None:
    def reply(body: dict[str, Any]) -> tuple[dict[str, Any], int]:
        if "max_tokens" in body:
            return {"message": "'max_tokens' is not supported. Use 'max_completion_tokens' instead."}, 400
        for name in ("temperature", "logprobs"):
            if name in body:
                return {"message": f"{name} is not supported with this model"}, 400
        return choice("Yes"), 200

    with replying(reply) as (url, bodies):
        assert scored(LlmJudge(url, "m", YES_NO)) == (1.0,) * 3
        assert sorted(bodies[-1]) == ["max_completion_tokens", "messages", "model"]
    with replying(lambda body: ({"message": "no such model"}, 404)) as (url, bodies):
        with pytest.raises(BackendRefused, match="no such model"):
            scored(LlmJudge(url, "m", YES_NO))
        assert len(bodies) == 1  # it is not asked about the steps behind it


def test_a_system_prompt_is_sent() -> None:
    with replying(lambda body: (choice("Yes"), 200)) as (url, bodies):
        scored(LlmJudge(url, "m", YES_NO, system="Be strict."))
        assert bodies[0]["messages"][0] == {"role": "system", "content": "Be strict."}


@pytest.mark.parametrize("form", [YES_NO, GRADE, TYPED], ids=lambda form: form.name)
def test_prompts_grow_by_appending_only_and_are_asked_in_order(form: Form) -> None:
    says = {"yes-no": "Yes", "grade": "9", "typed": '{"answer": "yes", "probability": 1}'}[form.name]
    with replying(lambda body: (choice(says), 200)) as (url, bodies):
        scored(LlmJudge(url, "m", form))
    first, second, third = (body["messages"][-1]["content"] for body in bodies)
    assert second == f"{first}\n\n{STEPS[1]}"
    assert third == f"{second}\n\n{STEPS[2]}"


def test_what_it_reads_and_writes_is_told_for_each_step() -> None:
    with replying(lambda body: (choice("Yes"), 200)) as (url, bodies):
        prm = LlmJudge(url, "m", YES_NO)

        async def both() -> tuple[Scores, Scores]:
            first, whole = await prm.score(QUESTION, STEPS[:2]), await prm.score(QUESTION, STEPS)
            await prm.aclose()
            return first, whole

        first, whole = asyncio.run(both())
    assert (first.tokens, first.completion, first.written) == (100, 2, (1, 1))
    assert (whole.tokens, whole.completion, whole.written, whole.up_to) == (50, 1, (1, 1, 1), (50, 50, 50))
    assert len(bodies) == 3


def test_what_it_writes_is_charged_whatever_is_drafted_ahead() -> None:
    drafts = [weak(f"step {n}", Finish.EOS if n == 2 else Finish.SEPARATOR) for n in range(3)]

    def reply(body: dict[str, Any]) -> tuple[dict[str, Any], int]:
        return choice("No" if body["messages"][-1]["content"].endswith("step 1") else "Yes"), 200

    costs = []
    for lookahead in (0, 2):
        with replying(reply) as (url, _):
            prm = LlmJudge(url, "m", YES_NO)
            drafting = Scripted({n: drafts[n:] for n in range(3)})
            rewriting = Scripted({n: [strong("other")] for n in range(3)})
            prices = Prices(Price(0, 0), Price(0, 0), Price(1.0, 10.0, 0.1))
            limits = Limits(lookahead=lookahead)
            router = Router(drafting, rewriting, prm, Threshold(0.5), prices=prices, limits=limits)

            async def routed(router: Router, prm: LlmJudge) -> Trace:
                trace = await router.route(QUESTION)
                await prm.aclose()
                return trace

            trace = asyncio.run(routed(router, prm))
        used = trace.usage[Role.PRM]
        # Three drafts and the strong model's step, each asked about once: 50 tokens read, 1 written.
        assert used == Usage(4, 200, 150, 4)
        costs.append(trace.cost)
    assert costs == [pytest.approx((50 * 1.0 + 150 * 0.1 + 4 * 10.0) / 1e6)] * 2
