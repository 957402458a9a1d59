"""Deadlines, failing backends, clients that disconnect or do not read, streams and whole answers."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from tests.server.gateway import PRM, STRONG, WEAK, Failing, Served, ask, serving, simulated
from trim.backends.base import BaseGenerator, step_stream
from trim.errors import BackendRefused, BackendTimeout, BackendUnavailable, BadResponse, InputTooLong
from trim.policies import Threshold
from trim.routing.router import Router
from trim.types import Question, Role, Step, StepOptions, Trace


def routed(text: str, seed: int) -> Trace:
    router = Router(WEAK, STRONG, PRM, Threshold(0.5))
    return asyncio.run(router.route(Question(text), seed=seed))


def chat(client: openai.OpenAI, text: str = "q", **fields: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(messages=messages, **({"model": "trim"} | fields))


def test_the_answer_is_the_routers(client: openai.OpenAI) -> None:
    reply, trace = chat(client, "hard 7", seed=5), routed("hard 7", 5)
    assert reply.choices[0].message.content == trace.text
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.completion_tokens == sum(step.tokens for step in trace.steps)
    steps = reply.trim["steps"]
    assert [step["role"] for step in steps] == [step.role for step in trace.steps]
    assert [step["score"] for step in steps] == [decision.score for decision in trace.decisions]
    assert reply.trim["usage"]["strong"]["completion_tokens"] == trace.usage[Role.STRONG].completion_tokens
    assert any(step["rejected"] for step in steps)
    assert not any("text" in draft for step in steps for draft in step["rejected"])


def test_a_stream_says_the_same_as_a_whole_answer(client: openai.OpenAI) -> None:
    whole = chat(client, "hard 7", seed=5)
    options: Any = {"include_usage": True}
    chunks = list(chat(client, "hard 7", seed=5, stream=True, stream_options=options))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-1].trim == whole.trim
    steps = [chunk.trim["step"] for chunk in chunks if "step" in (chunk.model_extra or {}).get("trim", {})]
    assert steps == whole.trim["steps"]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


def test_without_include_usage_the_last_chunk_has_the_totals(client: openai.OpenAI) -> None:
    chunks = list(chat(client, seed=5, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert chunks[-1].trim["cost"] > 0
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_async(served: Served) -> None:
    async def scenario() -> str:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
            stream = await client.chat.completions.create(
                model="trim", messages=[{"role": "user", "content": "hard 7"}], seed=5, stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(scenario()) == routed("hard 7", 5).text


def test_the_seed_makes_it_repeat(client: openai.OpenAI) -> None:
    assert chat(client, seed=-3).choices[0].message.content == chat(client, seed=-3).choices[0].message.content
    several = {chat(client).choices[0].message.content for _ in range(5)}
    assert len(several) > 1
    reply = chat(client)
    again = chat(client, seed=reply.trim["seeds"][0])
    assert again.choices[0].message.content == reply.choices[0].message.content


def test_a_conversation(served: Served) -> None:
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "1 + 1?"}]},
        {"role": "assistant", "content": "2", "refusal": None, "tool_calls": None},
        {"role": "user", "content": "q"},
    ]
    answer = served.post(ask(messages=said))
    assert answer.status_code == 200, answer.text


def test_the_stream_is_server_sent_events(served: Served) -> None:
    answer = served.post(ask(stream=True, seed=5))
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    first = json.loads(events[0].removeprefix("data: "))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_the_deadline() -> None:
    hanging = replace(WEAK, token_seconds=10.0)
    with serving(simulated(hanging, deadline=0.3)) as served:
        for stream in (False, True):
            started = time.monotonic()
            answer = served.post(ask(stream=stream))
            assert time.monotonic() - started < 1.5
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    with serving(
        simulated(replace(WEAK, token_seconds=0.002, block=10), deadline=0.2)
    ) as served:  # in the middle of a stream
        answer = served.post(ask("hard 7", stream=True, seed=5))
        assert answer.status_code == 200
        assert '"deadline_exceeded"' in answer.text.strip().splitlines()[-1]
        usage = served.gateway.metrics.text().decode()
        assert 'trim_requests_total{policy="threshold",status="failed"} 1.0' in usage


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BackendTimeout("weak model", "no answer"), 504, "backend_timeout"),
        (BackendUnavailable("weak model", "cannot be reached"), 503, "backend_unavailable"),
        (BackendRefused("weak model", "answered 403"), 502, "backend_error"),
        (BadResponse("weak model", "half a message"), 502, "backend_error"),
        (InputTooLong("weak model", "too long"), 400, "context_length_exceeded"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_failure_is_one_clear_error(error: Exception, status: int, code: str) -> None:
    with serving(simulated(Failing(WEAK, error))) as served:
        for stream in (False, True):
            answer = served.post(ask("hard 7", stream=stream))
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            assert "weak model" in answer.json()["error"]["message"]
    with serving(simulated(Failing(WEAK, error, after=2))) as served:
        answer = served.post(ask("hard 7", model="trim-weak", stream=True, n=2))
        assert answer.status_code == 200
        if isinstance(error, InputTooLong):  # the context is full: what was written is the answer
            assert '"finish_reason":"length"' in answer.text.replace('": "', '":"')
        else:
            assert f'"{code}"' in answer.text.strip().splitlines()[-1]
        assert served.spent(1).cost > 0  # what was written before is paid for


def test_a_client_that_disconnects_cancels_the_work() -> None:
    weak = Failing(replace(WEAK, token_seconds=0.02))  # 0.8 s a step
    with serving(simulated(weak)) as served:
        for stream in (False, True):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{served.url}/v1/chat/completions", json=ask(stream=stream), timeout=0.3)
            left = time.monotonic()
            while weak.open and time.monotonic() < left + 2:
                time.sleep(0.005)
            assert weak.open == 0
            assert weak.closed[-1] - left < 0.2
        assert served.spent(2).requests == 2
        assert 'status="cancelled"} 2.0' in served.get("/metrics").text


def test_a_partly_generated_step_is_charged() -> None:
    with serving(simulated(replace(WEAK, token_seconds=0.02))) as served:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{served.url}/v1/chat/completions", json=ask(), timeout=0.3)
        assert served.spent(1).cost > 0
        assert 'trim_tokens_total{kind="discarded",role="weak"}' in served.get("/metrics").text


def test_a_client_that_does_not_read_is_waited_for() -> None:
    long = replace(WEAK, ends=(0.0,) * 29 + (1.0,), accuracy=1.0)
    weak = Failing(_Wordy(long))
    with serving(simulated(weak, deadline=1.0)) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            body = httpx.Request("POST", served.url, json=ask(stream=True, model="trim-weak")).content
            head = (
                "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
            time.sleep(0.5)
            assert weak.open == 1  # it has more to say, and waits
            assert _Wordy.written < 25
            time.sleep(1.0)
            assert weak.open == 0  # until the deadline
        assert served.spent(1).requests == 1


class _Wordy(BaseGenerator):
    """Steps of half a megabyte."""

    written = 0

    def __init__(self, model: Any) -> None:
        self._model = model

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        async for step in self._model.steps(question, kept, options):
            await asyncio.sleep(0)
            type(self).written += 1
            yield replace(step, text=step.text + " ".join(map(str, range(90_000))))


@pytest.mark.parametrize("stream", [False, True])
def test_an_unexpected_exception_is_an_error_in_the_same_shape(stream: bool) -> None:
    error: Any = ZeroDivisionError("a bug")
    with serving(simulated(Failing(WEAK, error, after=1))) as served:
        answer = served.post(ask("hard 7", model="trim-weak", stream=stream))
        told = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))["error"]
        assert (told["code"], told["type"]) == ("internal_error", "server_error")
        assert "a bug" not in answer.text
        assert answer.status_code == (200 if stream else 500)
        assert 'status="failed"} 1.0' in served.get("/metrics").text
