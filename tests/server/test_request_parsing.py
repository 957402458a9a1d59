"""Bodies that are not JSON, too long, or ask for something without effect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.gateway import Served, ask, serving, simulated
from trim.server.api_error import ApiError
from trim.server.request_parsing import parse
from trim.server.schemas import ChatRequest


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(simulated(max_body=5_000, max_tokens=60)) as running:
        yield running


@pytest.mark.parametrize(
    "neutral",
    [
        *({"tools": []}, {"tool_choice": "none"}, {"logprobs": False}, {"frequency_penalty": 0.0}, {"n": 1}),
        *({"response_format": {"type": "text"}}, {"user": "u"}, {"metadata": {"a": "b"}}, {"store": False}),
        *({"temperature": None}, {"stop": None}, {"stop": []}, {"trim": {}}, {"trim": None}, {"max_tokens": 10**30}),
    ],
    ids=str,
)
def test_fields_without_effect_are_accepted(served: Served, neutral: dict[str, Any]) -> None:
    answer = served.post(ask() | neutral)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b'{"model": NaN}', b"[" * 100_000, b'"\\ud800"', b"{" * 2000),
        json.dumps(ask("\ud800")).encode(),
        json.dumps(ask() | {"temperature": float("nan")}).encode(),
        b'{"messages": [{"role": "user", "content": "q"}], "seed": 1e999}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_an_invalid_request_is_refused(served: Served, body: bytes) -> None:
    answer = served.post(body)
    assert answer.status_code in (400, 413)
    assert answer.json()["error"]["message"]


def test_what_is_null_is_not_there(served: Served) -> None:
    nothing: dict[str, Any] = {"model": None, "odd": None, "trim": {"policy": None}, "stream_options": {"x": None}}
    message = {"role": "user", "content": [{"type": "text", "text": "q", "image_url": None}], "audio": None}
    answer = served.post(nothing | {"messages": [message]})
    assert answer.status_code == 200, answer.text
    assert "x-trim-ignored" not in answer.headers
    assert served.post(nothing | {"messages": [None]}).json()["error"]["param"] == "messages[0]"
    assert served.post(nothing | {"messages": None}).json()["error"]["param"] == "messages"


def test_other_stream_options_are_ignored(served: Served) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True, "include_obfuscation": False}
    assert served.post(ask(stream=True, stream_options=options)).text.endswith("data: [DONE]\n\n")


def test_a_byte_order_mark_is_no_part_of_the_body(served: Served) -> None:
    assert served.post(b"\xef\xbb\xbf" + json.dumps(ask()).encode()).status_code == 200


def test_a_refusal_says_what_to_do(served: Served) -> None:
    message = served.post(ask(tools=[{"type": "function"}])).json()["error"]["message"]
    assert message == (
        "tools is not supported by a step router; [serve] pass_through hands such requests to the strong model's server"
    )


def test_the_limits_of_the_server(served: Served) -> None:
    assert served.post(ask("q" * 6_000)).status_code == 413
    assert served.post(ask("hard 7", max_tokens=100_000, seed=5)).json()["usage"]["completion_tokens"] == 60


PATH = "/v1/completions"


def test_prompt_fields_without_effect_are_accepted(served: Served) -> None:
    body = {"prompt": ["q"], "echo": False, "suffix": None, "best_of": 1, "logprobs": None, "user": "u"}
    assert served.post(body, PATH).status_code == 200


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (b'{"x": [' + b"1," * 200_000 + b"1]}", True),
        (b'{"x": ' + b"[" * 300_000 + b"]" * 300_000 + b"}", True),
        (b'{"x": [' + b'{"a": ""},' * 60_000 + b"{}]}", True),
        (b'{"x": "' + b'{[,\\"' * 100_000 + b'"}', False),  # characters of a text
        (b'{"x": "' + b'\\"' * 300_000, False),  # a text that does not end
        (b'"' * 500_001, False),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else str(value),
)
def test_a_body_of_too_many_values_is_refused_before_they_are_made(body: bytes, refused: bool) -> None:
    with pytest.raises(ApiError) as raised:
        parse(body, ChatRequest)
    assert (raised.value.code == "too_many_values") is refused
