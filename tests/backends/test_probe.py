"""What a probe finds out about servers: it is never content with an answer that routing cannot use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.backends.fake_server import SOLUTION, Habits, listening, serving
from tests.conformance.kinds import KINDS
from tests.conformance.scripted_server import Answering, scripted_server
from trim.backends.base import BaseBackend, BaseGenerator, step_stream
from trim.backends.capabilities import Continuation
from trim.backends.onnx import EmbeddedGenerator
from trim.backends.openai import OpenAIGenerator
from trim.backends.probe import describe, try_judge, try_steps
from trim.backends.token_counter import TokenCounter
from trim.errors import BackendUnavailable
from trim.prompts import load_template
from trim.protocols import Probe
from trim.scoring.llm_judge import YES_NO, LlmJudge
from trim.types import Finish, Question, Role, Scores, Step, StepOptions

QUESTION = Question("How many apples does Tom have?")


def model(habits: Habits, **changes: Any) -> OpenAIGenerator:
    options: dict[str, Any] = {"backend": "vllm", "template": load_template("trim"), "retries": 2} | changes
    return OpenAIGenerator(habits.url + "/v1", "m", Role.WEAK, **options)


async def _probe(generator: OpenAIGenerator) -> Probe:
    try:
        return await generator.probe()
    finally:
        await generator.aclose()


def probed(generator: OpenAIGenerator) -> Probe:
    return asyncio.run(_probe(generator))


@pytest.mark.parametrize("repeats", [True, False])
def test_probe_says_whether_a_chat_repeats_the_partial_answer(repeats: bool, counter: TokenCounter) -> None:
    with serving(repeat=repeats, usage="end") as habits:
        chat = {"backend": "llama-server", "continuation": "chat", "tokenizer": counter}
        found = probed(model(habits, **chat))
        assert (found.repeats_prefix, found.problem, found.continuation) == (repeats, None, True)
        assert f"repeats the partial answer: {'yes' if repeats else 'no'}" in describe(found)
        assert probed(model(habits)).repeats_prefix is None


def test_probe() -> None:
    with serving(context=500) as habits:
        found = probed(model(habits))
        assert found.reachable and found.streaming and found.usage and found.running_usage and found.stop
        assert found.stop_told and found.continuation and found.end_told and found.logprobs and found.cached
        assert found.first_text is not None and found.first_text > 0
        assert (found.models, found.context, found.problem) == (("m",), 500, None)
        assert "a context of 500 tokens is little: serve the model with a longer context" in describe(found)
        for words in ("continues a partial answer: yes", "token counts: running", "stop told from end: yes"):
            assert words in describe(found)
    with serving(usage="zeros") as habits:
        found = probed(model(habits))
        assert (found.usage, found.running_usage) == (True, False)
        assert "token counts: total" in describe(found)
    with serving(usage="none", tell=None) as habits:
        found = probed(model(habits))
        assert (found.usage, found.running_usage, found.stop_told, found.problem) == (False, False, False, None)
        assert "token counts: estimated" in describe(found)
    found = probed(model(habits, retries=0))
    assert not found.reachable
    assert "cannot be reached (is it running, is base_url right? trim init finds" in str(found.problem)


def test_a_name_that_the_server_does_not_list() -> None:
    with serving() as habits:
        wrong = OpenAIGenerator(habits.url + "/v1", "n", Role.WEAK, load_template("trim"), backend="vllm")
        assert "no such model; it has m: set model to one of these" in str(probed(wrong).problem)
        any_name = OpenAIGenerator(habits.url + "/v1", "n", Role.WEAK, load_template("trim"), backend="llama-server")
        found = probed(any_name)
        assert found.problem is None
        assert found.notes == ("it takes any name for its model, m",)


def test_a_context_in_which_nothing_fits() -> None:
    with serving(context=40) as habits:
        found = probed(model(habits))
        assert "maximum context length is 40" in str(found.problem)
        assert "serve the model with a longer context (llama-server --ctx-size" in str(found.problem)
    with serving(context=200) as habits:
        assert "its context of 200 tokens is too small: serve" in str(probed(model(habits)).problem)


CHAT = next(kind for kind in KINDS if kind.name == "llama-server")
TEXT = next(kind for kind in KINDS if kind.name == "vllm 0.32")
WORDS = SOLUTION.split(" ")
PIECES = [word + " " for word in WORDS]


def going_on(kind: Any) -> Callable[[dict[str, Any]], Any]:
    """A server that continues what it is given."""

    def answer(body: dict[str, Any]) -> Any:
        given = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        begun = next((n for n in range(len(PIECES), 0, -1) if "".join(PIECES[:n]).strip() in given), 0)
        return kind.stream(PIECES[begun:])

    return answer


def probe_of(kind: Any, answer: Answering, continuation: Continuation, backend: str) -> Probe:
    with scripted_server() as server:
        template = load_template("chatml")
        url = server.add([answer]).url
        options: dict[str, Any] = {"backend": backend, "continuation": continuation, "retries": 0}
        return probed(OpenAIGenerator(url, "m", Role.WEAK, template, **options))


@pytest.mark.parametrize(
    ("kind", "continuation", "backend", "remedy"),
    [
        (TEXT, "completions", "vllm", "set template to the model's own"),
        (CHAT, "chat", "llama-server", 'set continuation = "completions"'),
        (CHAT, "chat", "deepseek", 'set continuation = "instruct"'),
        (CHAT, "instruct", "openai", "does not follow the instruction"),
    ],
)
def test_an_answer_that_is_begun_again_is_no_continuation(
    kind: Any, continuation: Continuation, backend: str, remedy: str
) -> None:
    good = probe_of(kind, going_on(kind), continuation, backend)
    assert (good.continuation, good.problem) == (True, None)
    again = probe_of(kind, kind.stream(PIECES), continuation, backend)
    assert again.continuation is False
    assert "begins its answer again instead of continuing it" in str(again.problem)
    assert remedy in str(again.problem)


def test_what_a_server_refuses_is_noted() -> None:
    def refusing(body: dict[str, Any]) -> Any:
        if "temperature" in body:
            return CHAT.failure(400, "Unsupported parameter: 'temperature' is not supported with this model.")
        return going_on(CHAT)(body)

    found = probe_of(CHAT, refusing, "instruct", "openai")
    assert found.problem is None
    assert any("temperature" in note for note in found.notes)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (CHAT.stream([""]), "answered without any text"),
        (CHAT.stream(["  ", "\n"]), "answered without any text"),
        (lambda body: CHAT.stream(PIECES if len(body["messages"]) == 1 else [""]), "wrote nothing when it was to"),
    ],
)
def test_answers_without_text(reply: Answering, words: str) -> None:
    assert words in str(probe_of(CHAT, reply, "chat", "llama-server").problem)


def _page(request: Request) -> Response:
    return HTMLResponse("<html><title>Sign in</title></html>")


def _junk(request: Request) -> Response:
    return JSONResponse({"hello": [1]})


def _nothing(request: Request) -> Response:
    return Response("", media_type="text/event-stream")


def _done(request: Request) -> Response:
    return Response("data: [DONE]\n\n", media_type="text/event-stream")


def _list(request: Request) -> Response:
    return Response(json.dumps([1, 2]), media_type="application/json")


def _not_utf8(request: Request) -> Response:
    return Response(b"\xff\xfe\x00", media_type="text/plain")


@pytest.mark.parametrize("answer", [_page, _junk, _nothing, _done, _list, _not_utf8])
@pytest.mark.parametrize("continuation", ["completions", "chat"])
def test_a_server_of_something_else_is_never_ok(
    answer: Callable[[Request], Response], continuation: Continuation
) -> None:
    with listening(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])) as url:
        backend = "openrouter"
        options: dict[str, Any] = {"backend": backend, "continuation": continuation, "retries": 0}
        found = probed(OpenAIGenerator(url + "/v1", "m", Role.WEAK, load_template("chatml"), **options))
        assert found.problem is not None
        assert url in found.problem


class Judge(BaseBackend):
    """Scores the right and the wrong step as it is told."""

    def __init__(self, *scores: float | Exception) -> None:
        self.scores = list(scores)

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        score = self.scores.pop(0)
        if isinstance(score, Exception):
            raise score
        return Scores((score,) * len(steps), 1)


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        (Judge(0.9, 0.2), None),
        (Judge(0.2, 0.1), None),
        (Judge(0.5, 0.5), "scores a right step (0.50) no higher than a wrong one (0.50)"),
        (Judge(0.2, 0.9), "scores a right step (0.20) below a wrong one (0.90)"),
        (Judge(BackendUnavailable("judge", "overloaded")), "overloaded"),
    ],
)
def test_a_judge_must_order_a_right_and_a_wrong_step(judge: Judge, words: str | None) -> None:
    found = asyncio.run(try_judge(judge, Probe("judge", reachable=True)))
    assert (found.problem is None) == (words is None)
    assert words is None or words in str(found.problem)


def test_a_judge_that_failed_before_is_not_asked() -> None:
    assert asyncio.run(try_judge(Judge(), Probe("judge", problem="down"))).problem == "down"


def test_a_judge_that_always_says_yes() -> None:
    async def judged(url: str) -> Probe:
        judge = LlmJudge(url, "m", YES_NO, retries=0)
        try:
            return await try_judge(judge, await judge.probe())
        finally:
            await judge.aclose()

    answer = {"choices": [{"message": {"content": "Yes"}, "finish_reason": "stop"}]}
    app = Starlette(
        routes=[Route("/v1/chat/completions", lambda request: JSONResponse(answer), methods=["POST"])],
    )
    with listening(app) as url:
        assert "its scores say nothing: take another judge" in str(asyncio.run(judged(url + "/v1")).problem)


class Writer(BaseGenerator):
    """A model of the user's own that writes what it is told."""

    def __init__(self, *texts: str, again: bool = False) -> None:
        self.texts = texts
        self.again = again

    @step_stream
    async def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> Any:
        rest = self.texts if self.again else self.texts[len(kept) :]
        for place, text in enumerate(rest):
            yield Step(text, Role.WEAK, 3, Finish.EOS if place == len(rest) - 1 else Finish.SEPARATOR)


@pytest.mark.parametrize(
    ("writer", "words"),
    [
        (Writer("One.\n\n", "Two."), None),
        (Writer("One."), None),
        (Writer(" "), "it wrote no text"),
        (Writer("One.\n\n", "Two.", again=True), "once more instead of going on"),
    ],
)
def test_models_in_this_process_are_tried_through_their_steps(writer: Writer, words: str | None) -> None:
    found = asyncio.run(try_steps(writer, Probe("own", reachable=True)))
    assert (found.problem is None) == (words is None)
    assert words is None or words in str(found.problem)


def test_the_shipped_model_passes() -> None:
    async def tried() -> Probe:
        generator = EmbeddedGenerator("weak", Role.WEAK)
        try:
            return await try_steps(generator, await generator.probe())
        finally:
            await generator.aclose()

    found = asyncio.run(tried())
    assert (found.problem, found.continuation, found.usage) == (None, True, True)
    assert "tokens/s" in describe(found)
