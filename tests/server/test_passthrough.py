"""Tools, images, log-probabilities: passed through to a server with OpenAI's API, under all limits."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import trim
from tests.backends.fake_server import listening
from tests.server.gateway import SPOKEN, Served, ask, serving
from trim.config.loading import load_config
from trim.config.settings import (
    BudgetSettings,
    Config,
    ModelSettings,
    PriceSettings,
    PrmSettings,
    ServeSettings,
)
from trim.errors import ConfigError
from trim.server.gateway import open_gateway

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 7,
    "total_tokens": 37,
    "prompt_tokens_details": {"cached_tokens": 10},
}
CALL: list[dict[str, Any]] = [
    {"delta": {"role": "assistant", "content": None}},
    {"delta": {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather"}}]}},
    {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]}},
    {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]}},
    {"delta": {}, "finish_reason": "tool_calls"},
]
WORDS: list[dict[str, Any]] = [
    {"delta": {"role": "assistant", "content": ""}},
    *(
        {"delta": {"content": word}, "logprobs": {"content": [{"token": word, "logprob": -0.5, "top_logprobs": []}]}}
        for word in ("It", " is", " cold")
    ),
    {"delta": {}, "finish_reason": "stop"},
]

COUNTER = str(Path(trim.__file__).parent / "embedded" / "strong")


@dataclass
class Upstream:
    """A server with OpenAI's chat API; `script` is what it answers."""

    script: list[dict[str, Any]] = field(default_factory=lambda: list(WORDS))
    usage: dict[str, Any] | None = field(default_factory=lambda: dict(USAGE))
    status: int = 200
    delay: float = 0.0
    done: bool = True
    seen: list[dict[str, Any]] = field(default_factory=list)
    cancelled: int = 0

    async def chat(self, request: Request) -> Response:
        self.seen.append(await request.json())
        if self.status != 200:
            return JSONResponse({"error": {"message": "this model cannot see"}}, self.status)
        return StreamingResponse(self.events(), media_type="text/event-stream")

    async def events(self) -> AsyncIterator[str]:
        over, head = False, {"id": "up", "object": "chat.completion.chunk", "created": 1, "model": "big"}
        try:
            for part in self.script:
                await asyncio.sleep(self.delay)
                choice = {"index": 0, "finish_reason": None} | part
                yield f"data: {json.dumps(head | {'choices': [choice]})}\n\n"
            if self.usage is not None:
                yield f"data: {json.dumps(head | {'choices': [], 'usage': self.usage})}\n\n"
            over = True
            if self.done:
                yield "data: [DONE]\n\n"
        finally:
            self.cancelled += not over


@contextmanager
def _passthrough(
    upstream: Upstream,
    budget: BudgetSettings = BudgetSettings(),
    backend: Any = "vllm",
    continuation: Any = "completions",
    **serve: Any,
) -> Iterator[Served]:
    """A gateway whose strong model is this server, of that kind."""
    with listening(Starlette(routes=[Route("/v1/chat/completions", upstream.chat, methods=["POST"])])) as url:
        prices = PriceSettings(prompt=1.0, completion=10.0, cached=0.5)
        weak = ModelSettings("vllm", "small", f"{url}/v1", retries=0, prices=prices)
        strong = replace(weak, backend=backend, model="big", continuation=continuation, tokenizer=COUNTER)
        prm = PrmSettings("vllm", "prm", url, retries=0, prices=PriceSettings(0.0))
        config = Config(weak, strong, prm, budget=budget, serve=ServeSettings(pass_through=True, **SPOKEN | serve))
        with serving(lambda: open_gateway(config)) as served:
            yield served


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


def test_tools_whole_and_streamed(upstream: Upstream) -> None:
    upstream.script = CALL
    with _passthrough(upstream) as served, openai.OpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
        fields: Any = {"model": "trim", "tools": [WEATHER], "tool_choice": "auto", "seed": 3, "max_tokens": 50}
        messages: Any = [{"role": "user", "content": "Weather in Oslo?<|im_end|>"}]
        reply: Any = client.chat.completions.create(messages=messages, **fields)
        (call,) = reply.choices[0].message.tool_calls
        assert (call.id, call.type, call.function.name) == ("call_1", "function", "weather")
        assert json.loads(call.function.arguments) == {"city": "Oslo"}
        assert "index" not in (call.model_extra or {})
        assert (reply.choices[0].finish_reason, reply.choices[0].message.content) == ("tool_calls", None)
        assert reply.trim["passthrough"] == ["tools"]
        assert (reply.trim["policy"], reply.trim["strong_share"]) == ("always-strong", 1.0)
        (step,) = reply.trim["steps"]
        assert (step["role"], step["tokens"]) == ("strong", 7)
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (30, 7)
        assert reply.trim["cost"] == pytest.approx((20 * 1.0 + 10 * 0.5 + 7 * 10.0) / 1e6)

        *chunks, last = client.chat.completions.create(messages=messages, stream=True, **fields)
        deltas = [chunk.choices[0].delta for chunk in chunks]
        arguments = [d.tool_calls[0].function.arguments or "" for d in deltas if d.tool_calls]
        assert "".join(arguments) == '{"city": "Oslo"}'
        assert len(arguments) == 3  # as they came
        assert last.choices[0].finish_reason == "tool_calls"
        assert last.trim == reply.trim | {"seeds": last.trim["seeds"]}

        body = upstream.seen[0]
        assert (body["model"], body["tools"], body["tool_choice"], body["seed"]) == ("big", [WEATHER], "auto", 3)
        assert body["max_tokens"] == 50
        assert "<|im_end|>" not in body["messages"][0]["content"]
        assert "trim" not in body
        assert served.spent(2).cost == pytest.approx(2 * reply.trim["cost"])
        assert served.gateway.recent[0].response.strong_share == 1.0


def test_results_of_tools_and_images_are_read_by_the_server(upstream: Upstream) -> None:
    with _passthrough(upstream) as served:
        call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        said = [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "-3"},
        ]
        reply = served.post(ask(messages=said)).json()
        assert reply["choices"][0]["message"]["content"] == "It is cold"
        assert reply["trim"]["passthrough"] == ["messages[1].tool_calls", "messages[2].role"]
        assert upstream.seen[-1]["messages"] == said
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        said = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
        reply = served.post(ask(messages=said)).json()
        assert reply["trim"]["passthrough"] == ["messages[0].content"]
        assert upstream.seen[-1]["messages"] == said


def test_logprobs_and_several_choices(upstream: Upstream) -> None:
    with _passthrough(upstream) as served:
        body = ask(logprobs=True, top_logprobs=2, n=2, seed=8, stream_options={"include_usage": True})
        reply = served.post(body).json()
        assert [choice["index"] for choice in reply["choices"]] == [0, 1]
        tokens = [entry["token"] for entry in reply["choices"][1]["logprobs"]["content"]]
        assert tokens == ["It", " is", " cold"]
        assert [body["seed"] for body in upstream.seen] == [8, 9]
        assert reply["usage"] == {"prompt_tokens": 30, "completion_tokens": 14, "total_tokens": 44}
        events = served.post(body | {"stream": True}).text.split("\n\n")
        counts = json.loads(events[-3].removeprefix("data: "))
        assert (counts["choices"], counts["usage"]) == ([], reply["usage"])
        assert counts["trim"]["passthrough"] == ["logprobs", "top_logprobs"]


def test_fields_without_effect_do_not_cause_passthrough(upstream: Upstream) -> None:
    with _passthrough(upstream) as served:
        answer = served.post(ask(model="trim-weak", tools=[], logprobs=False))
        assert answer.json()["error"]["message"].startswith("weak model small")  # which has no /completions here
        assert not upstream.seen


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "trim-weak"}, "tools"),
        ({"trim": {"max_cost": 1.0}}, "trim.max_cost"),
        ({"trim": {"max_strong_tokens": 0}}, "trim.max_strong_tokens"),
        ({"speed": 3}, "speed"),
        ({"others": {}}, "others"),
        ({"temperature": 3}, "temperature"),
        ({"messages": []}, "messages"),
        ({"n": 9}, "n"),
    ],
    ids=str,
)
def test_requests_that_cannot_be_passed_through_are_refused(
    upstream: Upstream, fields: dict[str, Any], param: str
) -> None:
    with _passthrough(upstream) as served:
        answer = served.post(ask(tools=[WEATHER]) | fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
        assert not upstream.seen


def test_caps_hold(upstream: Upstream) -> None:
    with _passthrough(upstream, BudgetSettings(max_strong_tokens=20), max_tokens=100, spend_per_hour=2e-3) as served:
        answers = [served.post(ask(tools=[WEATHER], max_tokens=50)) for _ in range(25)]
        done = [answer.status_code for answer in answers].count(200)
        assert upstream.seen[0]["max_tokens"] == 20
        assert 1 <= done == len(upstream.seen) < 25
        assert answers[-1].json()["error"]["code"] == "insufficient_quota"
        assert 0.9e-4 * done < served.spent(done).cost <= 2e-3


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_disconnects_ends_it_and_is_charged(upstream: Upstream, stream: bool) -> None:
    upstream.script, upstream.delay = [WORDS[0], *WORDS[1:4] * 100, WORDS[4]], 0.02
    with _passthrough(upstream) as served:
        with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=httpx.Timeout(5, read=0.5)) as client:
            if stream:
                with client.stream(
                    "POST", f"{served.url}/v1/chat/completions", json=ask(tools=[WEATHER], stream=True)
                ) as r:
                    started = time.monotonic()
                    for _ in r.iter_lines():
                        if time.monotonic() > started + 0.4:
                            raise httpx.ReadTimeout("enough")
            else:
                client.post(f"{served.url}/v1/chat/completions", json=ask(tools=[WEATHER]))
        left = time.monotonic()
        while not upstream.cancelled and time.monotonic() < left + 2:
            time.sleep(0.005)
        assert upstream.cancelled == 1
        assert time.monotonic() - left < 0.5
        assert served.spent(1).strong_tokens > 5
        assert 'status="cancelled"} 1.0' in served.get("/metrics").text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"status": 400}, 400, "invalid_value"),
        ({"status": 401}, 502, "backend_error"),
        ({"status": 503}, 503, "backend_unavailable"),
        ({"status": 402}, 429, "insufficient_quota"),
        ({"status": 429}, 429, "rate_limit_exceeded"),
        ({"script": WORDS[:3], "done": False}, 502, "backend_error"),
        ({"script": [{"delta": 5}]}, 502, "backend_error"),
        ({"script": [7]}, 502, "backend_error"),
        ({"delay": 9.0}, 504, "deadline_exceeded"),
    ],
    ids=str,
)
def test_a_failure_is_one_clear_error(
    upstream: Upstream, change: dict[str, Any], status: int, code: str, stream: bool
) -> None:
    for name, value in change.items():
        setattr(upstream, name, value)
    if change == {"script": [7]}:
        upstream.events = _garbage  # type: ignore[method-assign]
    with _passthrough(upstream, deadline=1.0) as served:
        answer = served.post(ask(tools=[WEATHER], stream=stream))
        if answer.status_code == 200:  # the stream had begun
            assert stream
            error = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))["error"]
        else:
            assert answer.status_code == status
            error = answer.json()["error"]
        assert error["code"] == code
        served.spent(1)


def test_unusual_content_parts_are_not_an_error(upstream: Upstream) -> None:
    upstream.script = [{"delta": {"content": "half \ud83d"}}, {"delta": None, "finish_reason": "stop"}]
    with _passthrough(upstream) as served:
        reply = served.post(ask(tools=[WEATHER])).json()
        assert reply["choices"][0]["message"]["content"] == "half �"
        assert served.post(ask(tools=[WEATHER], stream=True)).text.endswith("data: [DONE]\n\n")


def test_counts_that_the_server_does_not_give_are_estimated(upstream: Upstream) -> None:
    upstream.usage = None
    with _passthrough(upstream) as served:
        reply = served.post(ask(tools=[WEATHER])).json()
        assert reply["choices"][0]["message"]["content"] == "It is cold"
        used = reply["trim"]["usage"]["strong"]
        assert used["estimated"]
        assert 3 <= used["completion_tokens"] < 40
        assert 3 <= used["prompt_tokens"] < 200
        assert served.spent(1).cost > 0


@pytest.mark.parametrize("stream", [False, True])
def test_an_end_without_a_reason_and_an_answer_in_one_piece(upstream: Upstream, stream: bool) -> None:
    upstream.script = WORDS[:3]  # [DONE] follows
    with _passthrough(upstream) as served:
        answer = served.post(ask(tools=[WEATHER], stream=stream))
        assert '"finish_reason":"stop"' in answer.text
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}

    async def one_piece() -> AsyncIterator[str]:
        yield json.dumps({"choices": [choice], "usage": USAGE})

    upstream.events = one_piece  # type: ignore[method-assign]
    with _passthrough(upstream) as served:
        answer = served.post(ask(tools=[WEATHER], stream=stream))
        if stream:
            assert '"tool_calls":[{"index":0,"id":"call_1"' in answer.text
            assert '"finish_reason":"tool_calls"' in answer.text
        else:
            assert answer.json()["choices"][0]["message"]["tool_calls"] == [call]
        assert answer.status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_content_filter_and_a_refusal_pass_through(upstream: Upstream, stream: bool) -> None:
    upstream.script = [{"delta": {"content": "It is"}}, {"delta": {}, "finish_reason": "content_filter"}]
    with _passthrough(upstream, breaker_failures=1) as served:
        for _ in range(2):
            answer = served.post(ask(tools=[WEATHER], stream=stream))
            assert (answer.status_code, '"finish_reason":"content_filter"' in answer.text) == (200, True)
        upstream.script = [{"delta": {"refusal": "I will not."}}, {"delta": {}, "finish_reason": "stop"}]
        assert '"refusal":"I will not."' in served.post(ask(tools=[WEATHER], stream=stream)).text
        assert len(upstream.seen) == 3


async def _garbage() -> AsyncIterator[str]:
    yield "data: [1, 2]\n\n"


def test_the_circuit_breaker_applies_too(upstream: Upstream) -> None:
    upstream.status = 503
    with _passthrough(upstream, breaker_failures=2, breaker_cooldown=60) as served:
        answers = [served.post(ask(tools=[WEATHER])) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [503] * 4
        assert len(upstream.seen) == 2
        assert "circuit open" in answers[-1].json()["error"]["message"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a model in this process"),
        ('[weak]\nmodel = "vllm/m"\n[strong]\nmodel = "vllm/m"\n[budget]\nmax_cost = 1.0\n', "max_cost"),
    ],
)
def test_settings_that_rule_out_passthrough_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "trim.toml"
    path.write_text(f"{text}[serve]\npass_through = true\n")
    with pytest.raises(ConfigError, match=words):
        load_config(path)


def test_other_fields_go_to_servers_that_take_them(upstream: Upstream) -> None:
    hints = {"reasoning_effort": "low", "verbosity": "low"}
    options = {"top_k": 40, "min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}}
    fields: dict[str, Any] = {"tools": [WEATHER], "user": "ann", "metadata": {}, "store": True} | hints | options
    with _passthrough(upstream) as served:
        answer = served.post(ask(**fields))
        assert answer.headers["x-trim-ignored"] == "metadata, store, user"
        assert upstream.seen[-1].items() >= (hints | options).items()
        assert answer.json()["trim"]["passthrough"] == ["tools"]
    with _passthrough(upstream, backend="openai", continuation="instruct") as served:
        answer = served.post(ask(**fields))
        ignored = "chat_template_kwargs, metadata, min_p, store, top_k, user"
        assert answer.headers["x-trim-ignored"] == ignored
        assert upstream.seen[-1].items() >= hints.items()
        assert not upstream.seen[-1].keys() & options.keys()


def test_what_asks_for_nothing_is_not_passed_through_and_what_asks_is(upstream: Upstream) -> None:
    with _passthrough(upstream) as served:
        served.post(ask(web_search_options={}, logit_bias={}, functions=[], audio=None))
        assert upstream.seen[-1]["web_search_options"] == {}
        assert not upstream.seen[-1].keys() & {"logit_bias", "functions", "audio"}


def test_a_stream_that_breaks_off_is_charged_for_what_was_read(upstream: Upstream) -> None:
    upstream.script, upstream.usage = WORDS[:3], None
    with _passthrough(upstream) as served:
        served.post(ask(tools=[WEATHER], stream=True))
        spent = served.spent(1)
        assert spent.cost > 0
        assert spent.strong_tokens > 0
        backend = served.gateway.backends.strong.usage
        assert (backend.completion_tokens, backend.estimated) == (spent.strong_tokens, True)


@pytest.mark.parametrize("wrong", [float("nan"), -7, "many", 10**30, [7], None])
def test_counts_that_cannot_be_right_reach_no_book(upstream: Upstream, wrong: Any) -> None:
    upstream.usage = {"prompt_tokens": 30, "completion_tokens": wrong, "prompt_tokens_details": {"cached_tokens": 90}}
    with _passthrough(upstream) as served:
        used = served.post(ask(tools=[WEATHER])).json()["trim"]["usage"]["strong"]
        assert (used["prompt_tokens"], used["cached_tokens"], used["estimated"]) == (30, 30, True)
        assert 3 <= used["completion_tokens"] < 40
        assert 0 < served.spent(1).cost < 1
