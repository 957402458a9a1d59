"""What servers tell of their model, as llama-server, vLLM, Ollama and LM Studio do it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.backends.fake_server import STEPS, listening, serving, tokens
from trim.backends.capabilities import BACKENDS, capabilities
from trim.backends.client import Server, context_of
from trim.backends.openai import OpenAIGenerator
from trim.backends.server_facts import ServerFacts
from trim.prompts import ChatTemplate, family_of, load_template
from trim.types import Message, Question, Role, Step, StepOptions

Json = dict[str, Any]
SOURCE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FAMILY = load_template("chatml", "Be brief.")
QUESTION = Question("Hi")


@dataclass
class Told:
    """A server whose paths answer as given, and what it was asked."""

    paths: dict[str, Callable[[Json], Json]]
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        if request.url.path not in self.paths:
            return JSONResponse({"error": "no such path"}, 404)
        body = await request.json() if request.method == "POST" else {}
        return JSONResponse(self.paths[request.url.path](body))


@contextmanager
def telling(**paths: Callable[[Json], Json]) -> Iterator[Told]:
    """Paths are given with `__` for a slash."""
    told = Told({f"/{name.replace('__', '/')}": answer for name, answer in paths.items()})
    told.paths.setdefault("/v1/models", lambda _: {"data": [{"id": "m"}]})
    with listening(Starlette(routes=[Route("/{path:path}", told.answer, methods=["GET", "POST"])])) as told.url:
        yield told


def learn(told: Told, kind: str, base: ChatTemplate | None = FAMILY, *questions: Question) -> ServerFacts:
    async def run() -> ServerFacts:
        server = Server("weak model", f"{told.url}/v1", "m", retries=0)
        facts = ServerFacts(server, capabilities(kind), base)
        await facts.learn()
        for question in questions:
            await facts.render(question)
        await facts.learn()
        await server.aclose()
        return facts

    return asyncio.run(run())


def ids(body: Json) -> list[int]:
    return [*([1] if body.get("add_special") or body.get("add_special_tokens") else []), *map(ord, body["text"])]


def props(**more: Any) -> Callable[[Json], Json]:
    told = {"chat_template": SOURCE, "bos_token": "<s>", "eos_token": "</s>"}
    return lambda _: told | {"default_generation_settings": {"n_ctx": 4096}} | more


@pytest.mark.parametrize(("adds", "head"), [(True, ""), (False, "<s>")])
def test_a_llama_server_shows_its_template_and_context(adds: bool, head: str) -> None:
    def tokenize(body: Json) -> Json:
        return {"tokens": ids({"text": body["content"], "add_special": adds and body["add_special"]})}

    with telling(props=props(), tokenize=tokenize) as told:
        facts = learn(told, "llama-server")
    assert (facts.context, told.asked.count("/props")) == (4096, 1)
    template = facts.template
    assert template is not None and template.origin == "the server's, from /props"
    assert template.render("a</s>b", "So") == f"{head}<|system|>Be brief.<|end|><|user|>a< /s>b<|end|><|assistant|>So"


@pytest.mark.parametrize(
    "told",
    [
        {"chat_template": None},
        {"chat_template": ["x"]},
        {"chat_template": "{% broken"},
        {"chat_template": "{{ cycler.__init__.__globals__.os }}"},
        {"chat_template": "{% for a in range(10**9) %}x{% endfor %}"},
        {"chat_template": "x" * 300_000},
        {"bos_token": 7, "chat_template": ""},
    ],
)
def test_a_template_that_cannot_be_rendered_safely_is_not_taken(told: Json) -> None:
    with telling(props=props(**told), tokenize=lambda _: {}) as server:
        facts = learn(server, "llama-server")
    assert facts.template is None
    assert facts.context == 4096


def test_vllm_renders_what_only_it_can() -> None:
    """The tokens are characters; 1 stands for the token that its tokenizer puts before a text."""

    def tokenize(body: Json) -> Json:
        if "messages" not in body:
            return {"tokens": ids(body | {"text": body["prompt"]})}
        if body["messages"][0]["role"] == "system":
            return {"error": "System role not supported"}
        turns = "".join(f"<{message['role']}>{message['content']}" for message in body["messages"])
        return {"tokens": ids({"text": f"{turns}<model>", "add_special": True})}

    def detokenize(body: Json) -> Json:
        return {"prompt": "".join("<bos>" if i == 1 else chr(i) for i in body["tokens"])}

    conversation = Question("Go on", messages=(Message("user", "Hi"), Message("assistant", "Yes?")))
    models = lambda _: {"data": [{"id": "m", "max_model_len": 512}]}  # noqa: E731
    with telling(tokenize=tokenize, detokenize=detokenize, v1__models=models) as told:
        facts = learn(told, "vllm", load_template("chatml"), QUESTION, conversation, conversation)
        with_system = learn(told, "vllm", FAMILY, QUESTION)
    assert facts.context == 512
    assert facts.template is not None
    assert facts.template.render("Hi", "So") == "<user>Hi<model>So"
    assert facts.template.render("Go on", "", conversation.messages) == "<user>Hi<assistant>Yes?<user>Go on<model>"
    assert facts.template.render("Never asked") == load_template("chatml").render("Never asked")
    assert with_system.template is None  # it has refused the trial


def test_ollama_and_lm_studio_say_how_long_the_context_is() -> None:
    loaded = lambda _: {"models": [{"name": "x"}, {"name": "m", "context_length": 8192}]}  # noqa: E731
    show = lambda _: {"parameters": 'stop "<|im_end|>"\nnum_ctx                        16384'}  # noqa: E731
    with telling(api__ps=loaded, api__show=show) as told:
        assert learn(told, "ollama").context == 8192
    with telling(api__ps=lambda _: {"models": []}, api__show=show) as told:
        assert learn(told, "ollama").context == 16384
    with telling(api__v0__models__m=lambda _: {"loaded_context_length": 4096, "max_context_length": 9}) as told:
        assert learn(told, "lm-studio").context == 4096


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_server_that_tells_nothing_is_as_good(kind: str) -> None:
    with telling() as told:
        facts = learn(told, kind, FAMILY, QUESTION)
    assert (facts.template, facts.context) == (None, None)


def test_a_server_that_is_not_there_is_asked_again() -> None:
    facts = learn(Told({}, url="http://127.0.0.1:9"), "llama-server")
    assert not facts._asked


@pytest.mark.parametrize(
    ("entry", "context"),
    [
        ({"max_model_len": 512}, 512),
        ({"meta": {"n_ctx": 4096, "n_ctx_train": 32768}}, 4096),
        ({"context_length": 131072}, 131072),
        ({"context_window": "8192"}, 8192),
        ({"max_model_len": None, "meta": None}, None),
        ({"max_model_len": -1}, None),
        ([], None),
    ],
)
def test_the_context_in_a_list_of_models(entry: object, context: int | None) -> None:
    assert context_of(entry) == context


@pytest.mark.parametrize(
    ("name", "family"),
    [("Qwen/Qwen2.5-7B-Instruct", "qwen"), ("meta-llama/Llama-3.1-8B-Instruct", "llama3"), ("other", "chatml")],
)
def test_a_family_is_guessed_from_the_name(name: str, family: str) -> None:
    assert family_of(name) == family


def test_a_servers_own_count_of_a_text_is_better_than_an_estimate() -> None:
    """And settles in the totals: nothing is counted twice."""
    with (
        serving(usage="none") as habits,
        telling(tokenize=lambda body: {"tokens": tokens(body["content"])}) as told,
    ):

        async def run() -> tuple[list[Step], OpenAIGenerator]:
            generator = OpenAIGenerator(
                f"{habits.url}/v1", "m", Role.WEAK, load_template("trim"), backend="llama-server", ask_server=True
            )
            assert generator.facts is not None
            generator.facts._server = Server("tokens", f"{told.url}/v1", "m")
            stream = generator.steps(QUESTION, (), StepOptions())
            steps = [step async for step in stream]
            assert stream.late_counts.completion == stream.pending_tokens == 0
            await generator.aclose()
            await generator.facts._server.aclose()
            return steps, generator

        steps, generator = asyncio.run(run())
    assert [step.tokens for step in steps] == [len(tokens(STEPS[0])), len(tokens(STEPS[1])), len(tokens(STEPS[2])) + 1]
    assert all(step.estimated for step in steps)
    assert generator.usage.completion_tokens == sum(step.tokens for step in steps)
