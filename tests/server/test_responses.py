"""Response bodies and headers, of chats and of completions."""

from __future__ import annotations

from typing import Any

import openai

from tests.server.gateway import Served, ask
from tests.server.test_endpoints import chat, routed
from trim.types import Role


def test_the_trim_object(served: Served, client: openai.OpenAI) -> None:
    body = {"policy": "threshold", "parameter": 0.9, "max_strong_tokens": 80, "drafts": True}
    reply = chat(client, "hard 7", seed=5, extra_body={"trim": body})
    assert reply.trim["parameter"] == 0.9
    assert 0 < reply.trim["usage"]["strong"]["completion_tokens"] <= 80
    drafts = [draft for step in reply.trim["steps"] for draft in step["rejected"]]
    assert drafts[0]["text"].startswith("Step ")
    assert any(step["forced"] for step in reply.trim["steps"])


def test_headers(served: Served) -> None:
    headers = served.post(ask("hard 7", seed=5)).headers
    trace = routed("hard 7", 5)
    assert headers["x-trim-policy"] == "threshold"
    assert int(headers["x-trim-strong-tokens"]) == trace.usage[Role.STRONG].completion_tokens > 0
    assert int(headers["x-trim-weak-tokens"]) == trace.measured[Role.WEAK].completion_tokens


def test_several_choices(client: openai.OpenAI) -> None:
    whole = chat(client, "hard 7", seed=5, n=3)
    texts = [choice.message.content for choice in whole.choices]
    assert texts == [routed("hard 7", 5 + index).text for index in range(3)]
    assert whole.usage.completion_tokens == sum(step["tokens"] for step in whole.trim["steps"])
    streamed = ["", "", ""]
    finished = []
    for chunk in chat(client, "hard 7", seed=5, n=3, stream=True):
        (choice,) = chunk.choices
        streamed[choice.index] += choice.delta.content or ""
        finished += [choice.index] if choice.finish_reason else []
    assert streamed == texts
    assert sorted(finished) == [0, 1, 2]


PATH = "/v1/completions"


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
