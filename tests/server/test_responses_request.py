"""Bodies of the Responses API: what they ask, and what is refused by the field's name."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.gateway import Served
from tests.server.test_schemas import _JSON
from trim.server.request_parsing import parse
from trim.server.responses_request import ResponsesRequest
from trim.types import Message, Question

PATH = "/v1/responses"


def question(**fields: Any) -> Question:
    (found,) = parse(json.dumps(fields).encode(), ResponsesRequest).questions()
    return found


def test_instructions_come_before_everything() -> None:
    said = [{"role": "developer", "content": "B"}, {"type": "message", "role": "user", "content": "q"}]
    assert question(input="q", instructions="A") == Question("q", messages=(Message("system", "A"),))
    messages = (Message("system", "A"), Message("system", "B"))
    assert question(input=said, instructions="A") == Question("q", messages=messages)
    assert question(input=said, instructions="") == Question("q", messages=messages[1:])


def test_reasoning_of_earlier_answers_is_left_out() -> None:
    said = [
        {"role": "user", "content": "1 + 1?"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Add."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "2"}, {"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "And"}, {"type": "input_text", "text": "now?"}]},
    ]
    wanted = (Message("user", "1 + 1?"), Message("assistant", "2\nNo."))
    assert question(input=said) == Question("And\nnow?", messages=wanted)


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "stores no responses; send the earlier messages"),
        ({"conversation": "conv_1"}, "conversation", "stores no responses"),
        ({"conversation": {"id": "conv_1"}}, "conversation", "stores no responses"),
        ({"background": True}, "background", "stream it"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "instructions and input"),
        ({"tools": [{"type": "web_search"}]}, "tools", "step router"),
        ({"tool_choice": "required"}, "tool_choice", "step router"),
        ({"top_logprobs": 2}, "top_logprobs", "step router"),
        ({"include": ["message.output_text.logprobs"]}, "include", "logprobs"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format", "'text'"),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}}}, "text.format", "'text'"),
        ({"text": "plain"}, "text", "object"),
        ({"input": None}, "input", "required"),
        ({"input": ""}, "input[0].content", "empty"),
        ({"input": []}, "input", "at least 1"),
        ({"input": 7}, "input", "list"),
        ({"input": ["q"]}, "input[0]", "object"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input", "no message"),
        ({"input": [{"role": "user"}]}, "input[0].content", "required"),
        ({"input": [{"role": "robot", "content": "q"}]}, "input[0].role", "developer"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type", "store: false"),
        ({"input": [{"type": "function_call_output", "output": "3"}]}, "input[0].type", "function_call_output"),
        ({"input": [{"type": "reasoning"}, {"role": "assistant", "content": "a"}]}, "input[1].role", "user's"),
        ({"max_output_tokens": 0}, "max_output_tokens", "greater"),
        ({"instructions": ["A"]}, "instructions", "string"),
        ({"temperature": 3}, "temperature", "less"),
        ({"n": 2}, "n", "step router"),
        ({"max_tokens": 2}, "max_tokens", "unrecognized"),
        ({"messages": []}, "messages", "unrecognized"),
        ({"model": "gpt-5"}, "model", "gpt-5"),
    ],
    ids=str,
)
def test_what_is_not_served_is_refused_by_name(served: Served, change: dict[str, Any], param: str, words: str) -> None:
    answer = served.post({"input": "q"} | change, PATH)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (404 if param == "model" else 400, param), error
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("kind", ["input_image", "input_file", "input_audio"])
def test_parts_that_are_no_text_are_named(served: Served, kind: str) -> None:
    said = [{"role": "user", "content": [{"type": "input_text", "text": "q"}, {"type": kind, "file_id": "1"}]}]
    error = served.post({"input": said}, PATH).json()["error"]
    assert error["param"] == "input[0].content"
    assert error["message"].startswith(f"input[0].content[1]: parts of type '{kind}'")


def test_what_asks_for_nothing_is_accepted(served: Served) -> None:
    nothing = {
        **{"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "background": False, "conversation": None},
        **{"previous_response_id": None, "prompt": None, "top_logprobs": 0, "instructions": None, "include": None},
        **{"text": {"format": {"type": "text"}}, "stream_options": {"include_obfuscation": False}, "metadata": {}},
    }
    answer = served.post({"input": "q"} | nothing, PATH)
    assert answer.status_code == 200, answer.text
    assert "x-trim-ignored" not in answer.headers
    told = {"store": True, "text": {"verbosity": "low"}, "truncation": "auto", "max_tool_calls": 3}
    answer = served.post({"input": "q"} | told, PATH)
    assert answer.headers["x-trim-ignored"] == "max_tool_calls, store, text.verbosity, truncation"


_FIELDS = st.sampled_from(
    [
        *("model", "input", "instructions", "stream", "stream_options", "max_output_tokens", "temperature", "top_p"),
        *("text", "include", "tools", "metadata", "previous_response_id", "store", "trim", "seed", "stop", "odd"),
    ]
)
_ITEM = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message", "reasoning", "item_reference"]) | _JSON,
        "role": st.sampled_from(["user", "assistant", "system", "developer", "tool"]) | _JSON,
        "content": st.lists(st.fixed_dictionaries({"type": st.just("input_text"), "text": _JSON}), max_size=2) | _JSON,
    },
)


@given(st.dictionaries(_FIELDS, _JSON, max_size=4), st.none() | st.lists(_ITEM, max_size=3), st.booleans())
@settings(
    max_examples=int(os.environ.get("TRIM_FUZZ", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_body_makes_a_server_error(served: Served, fields: dict[str, Any], items: Any, stream: bool) -> None:
    body = {"input": "q" if items is None else items, "stream": stream} | fields
    answer = served.post(json.dumps(body).encode(), PATH)
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code != 200:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
