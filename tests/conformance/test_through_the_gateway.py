"""What a client of the gateway sees of what a server behind it sends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

import pytest

from tests.conformance.cases import PARTS, TEXT
from tests.conformance.kinds import DONE, KINDS, Kind, event
from tests.conformance.scripted_server import Answering, Reply, Script, ScriptedServer, said, scripted_server
from tests.server.gateway import SPOKEN, Served, ask, serving
from trim.config.settings import Config, ModelSettings, PrmSettings, ServeSettings
from trim.server.gateway import open_gateway

VLLM = next(kind for kind in KINDS if kind.name == "vllm 0.5")
AZURE = next(kind for kind in KINDS if kind.name == "azure")


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@contextmanager
def behind(
    server: ScriptedServer, *replies: Answering, retries: int = 3, kind: Kind = VLLM, **serve: Any
) -> Iterator[tuple[Served, Script]]:
    """A gateway whose weak and strong model are this script."""
    script = server.add(replies)
    backend: Any = kind.backend
    model = ModelSettings(backend, "m", script.url, retries=retries, continuation=kind.continuation)
    prm = PrmSettings("vllm", "prm", server.url, retries=0)
    config = Config(model, model, prm, serve=ServeSettings(breaker_failures=2, **SPOKEN | serve))
    with serving(lambda: open_gateway(config)) as served:
        yield served, script


def chunks(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n")]
    return [json.loads(line) for line in lines if line and line != "[DONE]"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["trim-weak", "trim-strong"])
def test_a_content_filter_ends_the_answer_with_what_there_is(server: ScriptedServer, model: str, stream: bool) -> None:
    for parts in (PARTS, []):
        with behind(server, VLLM.stream(parts, finish="content_filter")) as (served, script):
            for _ in range(3):  # the circuit stays closed
                answer = served.post(ask(model=model, stream=stream))
                assert answer.status_code == 200
                if stream:
                    sent = [chunk["choices"][0] for chunk in chunks(answer.text)]
                    text = "".join(choice["delta"].get("content") or "" for choice in sent)
                    finish = sent[-1]["finish_reason"]
                else:
                    (choice,) = answer.json()["choices"]
                    text, finish = choice["message"]["content"], choice["finish_reason"]
                    assert answer.json()["trim"]["stop_reasons"] == ["content_filter"]
                assert (text, finish) == ("".join(parts), "content_filter")
            assert len(script.requests) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_the_clients_to_see(server: ScriptedServer, stream: bool) -> None:
    refused = VLLM.chunk(None, usage=VLLM.counts(20, None, 4))
    refused["choices"][0]["delta"] = {"refusal": "I will not."}
    with behind(server, Reply([event(refused), event(VLLM.chunk(None, "stop")), DONE])) as (served, script):
        answer = served.post(ask(model="trim-weak", stream=stream))
        if stream:
            sent = [chunk["choices"][0] for chunk in chunks(answer.text)]
            assert "".join(choice["delta"].get("refusal") or "" for choice in sent) == "I will not."
            assert not any(choice["delta"].get("content") for choice in sent)
            finish = sent[-1]["finish_reason"]
        else:
            (choice,) = answer.json()["choices"]
            assert choice["message"] == {"role": "assistant", "content": None, "refusal": "I will not."}
            finish = choice["finish_reason"]
        assert finish == "stop"
        assert len(script.requests) == 1


def test_a_refusal_in_the_responses_api(server: ScriptedServer) -> None:
    refused = VLLM.chunk(None, usage=VLLM.counts(20, None, 4))
    refused["choices"][0]["delta"] = {"refusal": "I will not."}
    with behind(server, Reply([event(refused), event(VLLM.chunk(None, "stop")), DONE])) as (served, _):
        for stream in (False, True):
            body = {"model": "trim-weak", "input": "q", "stream": stream}
            answer = served.post(body, path="/v1/responses")
            events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
            whole = events[-1]["response"] if stream else answer.json()
            (item,) = whole["output"]
            assert item["content"][-1] == {"type": "refusal", "refusal": "I will not."}
            assert not any(part.get("text") for part in item["content"])
            told = [each for each in events if each["type"] == "response.refusal.delta"]
            assert [each["delta"] for each in told] == (["I will not."] if stream else [])


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_that_does_not_fit_is_the_clients_error(server: ScriptedServer, stream: bool) -> None:
    for kind in KINDS:
        with behind(server, kind.too_long()) as (served, script):
            for _ in range(3):
                asked = len(script.requests)
                answer = served.post(ask(model="trim-weak", stream=stream))
                assert answer.status_code == 400, kind.name
                assert answer.json()["error"]["code"] == "context_length_exceeded"
                assert answer.json()["error"]["param"] == "messages"
                assert len(script.requests) - asked <= 2


def test_fewer_tokens_are_asked_for_once_where_only_both_together_do_not_fit(server: ScriptedServer) -> None:
    both = said(
        400,
        {
            "message": "This model's maximum context length is 128 tokens. However, you requested 4116 tokens (20 in "
            "the messages, 4096 in the completion)."
        },
    )
    with behind(server, both, VLLM.stream(PARTS)) as (served, script):
        answer = served.post(ask(model="trim-weak")).json()
        assert answer["choices"][0]["message"]["content"] == TEXT
        assert [request["max_tokens"] for request in script.requests][1:] == [108]
    most = VLLM.failure(400, "max_tokens is too large: 2048. This model supports at most 64 completion tokens")
    with behind(server, most, VLLM.stream(PARTS)) as (served, script):
        for _ in range(2):
            assert served.post(ask(model="trim-weak")).status_code == 200
        assert [request["max_tokens"] for request in script.requests][1:] == [64, 64]


@pytest.mark.parametrize("wait", ["90", "date"])
def test_retry_after_reaches_the_client(server: ScriptedServer, wait: str) -> None:
    told = formatdate(time.time() + 90, usegmt=True) if wait == "date" else wait
    with behind(server, VLLM.failure(429, "Rate limit reached", retry_after=told)) as (served, script):
        began = time.monotonic()
        for tried in range(1, 5):
            answer = served.post(ask(model="trim-strong"))
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            assert 30 <= int(answer.headers["retry-after"]) <= 90
            assert len(script.requests) == tried  # no circuit is open, and nothing was tried again for so long a wait
        assert time.monotonic() - began < 60


def test_an_empty_account_is_asked_once_and_says_so(server: ScriptedServer) -> None:
    for reply in (VLLM.quota, said(402, {"error": {"message": "Insufficient Balance"}})):
        with behind(server, reply) as (served, script):
            answer = served.post(ask(model="trim-weak"))
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
            assert "no credit or quota left" in answer.json()["error"]["message"]
            assert answer.headers["x-should-retry"] == "false"
            assert len(script.requests) == 1


def test_a_filtered_request_is_the_clients_error(server: ScriptedServer) -> None:
    assert AZURE.filtered is not None
    with behind(server, AZURE.filtered) as (served, script):
        for _ in range(3):
            answer = served.post(ask(model="trim-weak"))
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_filter")
        assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([b"<html><head><title>Log in</title></head></html>"], "HTML page titled 'Log in'"),
        ([json.dumps({"error": {"message": "the engine is on fire"}}).encode()], "the engine is on fire"),
        ([b'event: error\ndata: {"message": "the engine is on fire"}\n\n'], "the engine is on fire"),
    ],
)
def test_the_servers_own_words_reach_the_client(server: ScriptedServer, body: Sequence[bytes], words: str) -> None:
    with behind(server, Reply(body)) as (served, script):
        answer = served.post(ask(model="trim-weak", stream=True))
        assert answer.status_code in (502, 503)
        assert words in answer.json()["error"]["message"]
        assert len(script.requests) == 1


def test_half_a_character_from_a_client_is_one_clear_error(server: ScriptedServer) -> None:
    with behind(server, VLLM.stream(PARTS)) as (served, script):
        body = b'{"model": "trim-weak", "messages": [{"role": "user", "content": "a \\ud83d"}]}'
        answer = served.post(body)
        assert answer.status_code in (200, 400)
        if answer.status_code == 400:
            assert answer.json()["error"]["code"] == "invalid_json"
        else:
            assert script.requests[0]["messages"][-1]["content"] == "a �"
