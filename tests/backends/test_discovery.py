"""Servers are told apart by what they answer; answers as documented or seen of each kind."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.backends.fake_server import listening
from trim.backends.discovery import PORTS, FoundServer, find_servers, recognised

URL = "http://127.0.0.1:1"


def llama_server(name: str = "qwen2.5-0.5b.gguf", parameters: int = 494_032_768) -> dict[str, Any]:
    """What llama.cpp's server answers; it has Ollama's list of models too."""
    meta = {"n_params": parameters, "size": parameters // 2, "n_ctx_train": 32768}
    entry = {"id": name, "object": "model", "owned_by": "llamacpp", "meta": meta}
    return {
        "/v1/models": {"object": "list", "data": [entry], "models": [{"name": name}]},
        "/props": {"default_generation_settings": {"n_ctx": 4096}, "chat_template": "{{ messages }}"},
        "/api/tags": {"models": [{"name": name, "size": ""}]},
    }


OLLAMA = {
    "/v1/models": {
        "data": [
            {"id": "qwen2.5:1.5b", "owned_by": "library"},
            {"id": "nomic-embed-text:latest"},
            {"id": "gpt-oss:120b-cloud"},
        ]
    },
    "/api/tags": {
        "models": [
            {"name": "qwen2.5:1.5b", "size": 986061892, "details": {"parameter_size": "1.5B"}},
            {"name": "nomic-embed-text:latest", "size": 274302450, "details": {"parameter_size": "137M"}},
        ]
    },
}
VLLM = {
    "/v1/models": {"data": [{"id": "Qwen/Qwen2.5-7B-Instruct", "owned_by": "vllm", "max_model_len": 32768}]},
    "/version": {"version": "0.32.0"},
}
PRM = {"/v1/models": {"data": [{"id": "Qwen/Qwen2.5-Math-PRM-7B", "owned_by": "vllm", "max_model_len": 4096}]}}
SGLANG = {
    "/v1/models": {"data": [{"id": "Qwen/Qwen3-8x7B", "owned_by": "sglang", "max_model_len": 8192}]},
    "/get_model_info": {"model_path": "Qwen/Qwen3-8x7B", "is_generation": True},
}
LM_STUDIO = {
    "/v1/models": {"data": [{"id": "llama-3.2-3b-instruct", "owned_by": "organization_owner"}]},
    "/api/v0/models": {"data": [{"id": "llama-3.2-3b-instruct", "type": "llm", "loaded_context_length": 4096}]},
}


@pytest.mark.parametrize(
    ("answers", "kind", "models"),
    [
        (llama_server(), "llama-server", [("qwen2.5-0.5b", 494_032_768, 4096)]),
        (OLLAMA, "ollama", [("qwen2.5:1.5b", 1.5e9, None)]),
        (VLLM, "vllm", [("Qwen/Qwen2.5-7B-Instruct", 7e9, 32768)]),
        (SGLANG, "sglang", [("Qwen/Qwen3-8x7B", 56e9, 8192)]),
        (LM_STUDIO, "lm-studio", [("llama-3.2-3b-instruct", 3e9, 4096)]),
        ({"/v1/models": {"data": [{"id": "m", "owned_by": "me"}]}}, "llama-cpp-python", [("m", None, None)]),
        ({"/v1/models": {"data": [{"id": "SmolLM2-135M"}]}}, "generic", [("SmolLM2-135M", 135e6, None)]),
        ({"/v1/models": {"data": [{"id": 3}, "x", {}]}}, "generic", [("3", None, None), ("None", None, None)]),
    ],
)
def test_kinds(answers: Mapping[str, Any], kind: str, models: list[tuple[Any, ...]]) -> None:
    found = recognised(URL, answers)
    assert found is not None
    assert found.kind == kind
    assert [(model.name, model.parameters, model.context) for model in found.models] == models


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"/v1/models": 404, "/version": {"version": "1"}},
        {"/v1/models": None, "/props": "x"},
        {"/v1/models": [1]},
        {"/v1/models": {"data": [{"id": "trim", "owned_by": "trim"}]}},
    ],
)
def test_what_is_no_model_server(answers: Mapping[str, Any]) -> None:
    assert recognised(URL, answers) is None


def test_a_process_reward_model_writes_nothing() -> None:
    found = recognised(URL, PRM)
    assert found is not None
    assert [model.scores for model in found.models] == [True]


@pytest.mark.parametrize(("status", "words"), [(401, "wants a key"), (503, "still loading")])
def test_a_server_that_does_not_list_its_models_is_named(status: int, words: str) -> None:
    found = recognised(URL, {"/v1/models": status})
    assert found is not None
    assert words in found.trouble


@contextmanager
def answering(answers: Mapping[str, Any]) -> Iterator[str]:
    """A server with these answers by path; a number is a status."""

    def answer(request: Request) -> Response:
        value = answers.get(request.url.path, 404)
        return JSONResponse({}, value) if isinstance(value, int) else JSONResponse(value)

    with listening(Starlette(routes=[Route("/{path:path}", answer)])) as url:
        yield url


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def find(*urls: str, extra: tuple[str, ...] = ()) -> list[FoundServer]:
    """Those at these ports of loopback, and at addresses."""
    return asyncio.run(find_servers(extra, {"any": tuple(map(_port, urls))}))


def test_servers_are_found_at_once_and_what_is_none_is_left_out() -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(answering(one)) for one in (VLLM, OLLAMA)]
        page = stack.enter_context(
            listening(Starlette(routes=[Route("/{p:path}", lambda request: HTMLResponse("<html>hello</html>"))]))
        )
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # takes connections and never answers
        silent = f"http://127.0.0.1:{mute.getsockname()[1]}"
        began = time.monotonic()
        found = find(*urls, page, silent, "http://127.0.0.1:9")
        assert {server.url: server.kind for server in found} == dict(zip(urls, ("vllm", "ollama"), strict=True))
        assert time.monotonic() - began < 15


def test_an_address_of_the_user_is_looked_at_too() -> None:
    with answering(VLLM) as url:
        assert [server.url for server in find(extra=(url + "/v1", "http://no.invalid", "nonsense"))] == [url]


def test_usual_ports() -> None:
    assert {8080, 8081} < set(PORTS["llama-server"])
    assert {8000, 8001} < set(PORTS["vllm"])
    assert (PORTS["ollama"], PORTS["lm-studio"], PORTS["sglang"][0]) == ((11434,), (1234,), 30000)
