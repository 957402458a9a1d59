"""OpenAI's older API: prompts instead of messages, the same answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.server.gateway import Served, ask, serving, simulated
from tests.server.test_endpoints import routed

PATH = "/v1/completions"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(simulated(max_choices=4)) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def complete(client: openai.OpenAI, prompt: Any = "hard 7", **fields: Any) -> Any:
    return client.completions.create(**({"model": "trim", "prompt": prompt, "seed": 5, "max_tokens": 4_000} | fields))


def test_a_prompt_is_answered_as_a_message(served: Served, client: openai.OpenAI) -> None:
    reply, trace = complete(client), routed("hard 7", 5)
    assert (reply.object, reply.choices[0].text, reply.choices[0].finish_reason) == (
        "text_completion",
        trace.text,
        "stop",
    )
    assert reply.id.startswith("cmpl-")
    chat = served.post(ask("hard 7", seed=5)).json()
    assert reply.usage.model_dump(exclude_unset=True) == chat["usage"]
    assert reply.trim == chat["trim"]


def test_a_stream_says_the_same(client: openai.OpenAI) -> None:
    whole = complete(client, n=2)
    texts, ends = ["", ""], ["", ""]
    *chunks, last = complete(client, n=2, stream=True, stream_options={"include_usage": True})
    for chunk in chunks:
        (choice,) = chunk.choices
        assert chunk.object == "text_completion"
        assert ends[choice.index] == ""
        texts[choice.index] += choice.text
        ends[choice.index] = choice.finish_reason or ""
    assert texts == [choice.text for choice in whole.choices]
    assert ends == ["stop", "stop"]
    assert (last.choices, last.usage, last.trim) == ([], whole.usage, whole.trim)


def test_prompts_are_answered_in_their_order(client: openai.OpenAI) -> None:
    reply = complete(client, ["hard 7", "q"], n=2)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    wanted = [routed(text, seed).text for text in ("hard 7", "q") for seed in (5, 6)]
    assert [choice.text for choice in reply.choices] == wanted
    each = [complete(client, text, n=2).usage.prompt_tokens for text in ("hard 7", "q")]
    assert reply.usage.prompt_tokens == sum(each)


def test_sixteen_tokens_where_nothing_is_said(client: openai.OpenAI) -> None:
    reply = complete(client, max_tokens=None)
    assert (reply.usage.completion_tokens, reply.choices[0].finish_reason) == (16, "length")


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


def test_what_asks_for_nothing_is_accepted(served: Served) -> None:
    body = {"prompt": ["q"], "echo": False, "suffix": None, "best_of": 1, "logprobs": None, "user": "u"}
    assert served.post(body, PATH).status_code == 200


def test_the_document_describes_it(served: Served) -> None:
    document = served.get("/openapi.json").json()
    assert document["components"]["schemas"]["CompletionRequest"]["required"] == ["prompt"]
    reply = served.post({"prompt": "q"}, PATH).json()
    schema = document["components"]["schemas"]["TextCompletion"]
    assert set(schema["required"]) == set(reply)
    assert set(schema["properties"]["choices"]["items"]["required"]) <= set(reply["choices"][0])
    used = {line.rpartition("/")[2].strip('"') for line in json.dumps(document).split() if "#/components" in line}
    assert {name.rstrip('",}]') for name in used} <= set(document["components"]["schemas"])
