"""What the gateway does not support is rejected by name: no body, however odd, is answered with a 5xx."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.gateway import Served, ask, serving, simulated

USER = [{"role": "user", "content": "q"}]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(simulated(max_body=5_000, max_tokens=60, max_choices=4)) as running:
        yield running


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "gpt-5"}, 404, "model"),
        ({"model": "trim-oracle"}, 404, "model"),
        ({"model": "trim-threshold-7"}, 400, "model"),
        ({"model": "trim-random-200%"}, 400, "model"),
        ({"model": "trim-threshold-1.2.3"}, 400, "model"),
        ({"model": "trim-threshold-1e999"}, 400, "model"),
        ({"model": 3}, 400, "model"),
        ({"messages": None}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"messages": "q"}, 400, "messages"),
        ({"messages": [{"role": "tool", "content": "q"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "messages[0].content"),
        ({"messages": [*USER, {"role": "assistant", "content": "a"}]}, 400, "messages[1].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages[0].content"),
        (
            {"messages": [{"role": "assistant", "content": "a", "tool_calls": [1]}, *USER]},
            400,
            "messages[0].tool_calls",
        ),
        ({"temperature": 2.1}, 400, "temperature"),
        ({"temperature": "0"}, 400, "temperature"),
        ({"temperature": True}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": 1.5}, 400, "max_tokens"),
        ({"n": 9}, 400, "n"),
        ({"n": 0}, 400, "n"),
        ({"seed": 2**63}, 400, "seed"),
        ({"stop": ["a"] * 5}, 400, "stop"),
        ({"stop": ""}, 400, "stop[0]"),
        ({"stream": 1}, 400, "stream"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"frequency_penalty": 0.5}, 400, "frequency_penalty"),
        ({"frequency_penalty": False}, 400, "frequency_penalty"),
        ({"logit_bias": {"1": 2}}, 400, "logit_bias"),
        ({"speed": 3}, 400, "speed"),
        ({"trim": {"policy": "magic"}}, 400, "trim.policy"),
        ({"trim": {"policy": "pomdp=/etc"}}, 400, "trim.policy"),
        ({"trim": {"policy": "oracle"}}, 400, "trim.policy"),  # it needs step labels
        ({"trim": {"parameter": 2}}, 400, "trim"),
        ({"trim": {"policy": "threshold", "price": 0.1}}, 400, "trim.price"),
        ({"trim": {"parameter": 0.1, "strong_share": 0.1}}, 400, "trim.strong_share"),
        ({"trim": {"policy": "always-weak", "strong_share": 0.1}}, 400, "trim"),
        ({"trim": {"strong_share": 1.5}}, 400, "trim.strong_share"),
        ({"trim": {"max_cost": -1}}, 400, "trim.max_cost"),
        ({"trim": {"sped": 1}}, 400, "trim.sped"),
        ({"trim": 7}, 400, "trim"),
        ({"model": "trim-weak", "trim": {"policy": "threshold"}}, 400, "trim"),
    ],
    ids=str,
)
def test_by_name(served: Served, change: dict[str, Any], status: int, param: str) -> None:
    answer = served.post(ask() | change)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param), error
    assert error["type"] == "invalid_request_error"
    if status == 404:
        expected = "it needs a task whose steps can be checked by rule" if "oracle" in change["model"] else "trim-weak"
        assert expected in error["message"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


_FIELDS = st.sampled_from(
    [
        *("model", "messages", "stream", "stream_options", "max_tokens", "temperature", "top_p", "seed", "stop", "n"),
        *("user", "metadata", "tools", "logprobs", "logit_bias", "response_format", "trim", "odd"),
    ]
)


_TRIM = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("policy", "parameter", "price", "strong_share", "max_strong_tokens", "max_cost", "drafts"),
        _JSON | st.sampled_from(["threshold", "random", "pomdp", "always-strong", 0, 1, 0.5, 5e-324]),
    ),
)


_PART = st.fixed_dictionaries({}, optional={"type": st.sampled_from(["text", "image_url"]) | _JSON, "text": _JSON})
_MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "developer", "tool"]) | _JSON,
        "content": st.lists(_PART, max_size=2) | _JSON,
        "refusal": _JSON,
        "tool_calls": _JSON,
        "name": _JSON,
    },
)


@given(st.lists(_MESSAGE, max_size=4))
@settings(
    max_examples=int(os.environ.get("TRIM_FUZZ", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_conversation_makes_a_server_error(served: Served, messages: list[Any]) -> None:
    answer = served.post(json.dumps(ask(messages=messages)).encode())
    assert answer.status_code in (200, 400, 413), answer.text
    if answer.status_code == 400 and (error := answer.json()["error"])["code"] != "invalid_json":
        assert error["param"].startswith("messages"), error


@given(st.dictionaries(_FIELDS, _JSON, max_size=4), st.none() | _TRIM, st.booleans())
@settings(
    max_examples=int(os.environ.get("TRIM_FUZZ", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_body_makes_a_server_error(served: Served, fields: dict[str, Any], trim: Any, stream: bool) -> None:
    body = json.dumps(ask(stream=stream) | ({"trim": trim} if trim is not None else {}) | fields).encode()
    answer = served.post(body)
    assert answer.status_code in (200, 400, 404, 413), answer.text
    if answer.status_code != 200:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_name_with_spaces_is_the_same_policy(served: Served) -> None:
    for policy in ("always-weak", " always-weak", "always-weak "):
        assert served.post(ask(trim={"policy": policy})).json()["trim"]["policy"] == "always-weak"


@given(st.dictionaries(_FIELDS | st.sampled_from(["prompt", "echo", "suffix", "best_of"]), _JSON, max_size=4))
@settings(
    max_examples=int(os.environ.get("TRIM_FUZZ", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_prompt_makes_a_server_error(served: Served, fields: dict[str, Any]) -> None:
    answer = served.post(json.dumps({"prompt": "q"} | fields).encode(), "/v1/completions")
    assert answer.status_code in (200, 400, 404, 413), answer.text


PATH = "/v1/completions"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": ["q", ""]}, "prompt"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": [[1, 2], [3]]}, "prompt"),
        ({"prompt": {"text": "q"}}, "prompt"),
        ({"prompt": ["q"] * 5}, "prompt"),
        ({"prompt": ["q"] * 3, "n": 2}, "prompt"),
        ({"n": 5}, "n"),
        ({"echo": True}, "echo"),
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"logprobs": 0}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "q"}]}, "messages"),
    ],
    ids=str,
)
def test_what_is_not_served_is_refused_by_name(served: Served, change: dict[str, Any], param: str) -> None:
    answer = served.post({"model": "trim", "prompt": "q"} | change, PATH)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error"), error


def test_token_ids_are_named(served: Served) -> None:
    assert "no token ids" in served.post({"prompt": [1, 2]}, PATH).json()["error"]["message"]
