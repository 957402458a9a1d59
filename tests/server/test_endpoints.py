"""OpenAI's own client against the gateway: choosing models, streams, stop strings, several choices, usage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.gateway import PRM, STRONG, WEAK, Sampled, Served, ask, serving, simulated
from trim.policies import Threshold
from trim.routing.router import Router
from trim.server.completion_stream import StopStrings
from trim.types import Question, Role, Trace


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(simulated()) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as made:
        yield made


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


@pytest.mark.parametrize(
    ("model", "policy", "parameter"),
    [
        ("trim-weak", "always-weak", None),
        ("trim-strong", "always-strong", None),
        ("trim-threshold-0.8", "threshold", 0.8),
        ("trim-threshold", "threshold", 0.5),
        ("trim-random-0.25", "random", 0.25),
        ("trim-random-25%", "random", 0.25),
    ],
)
def test_names(client: openai.OpenAI, model: str, policy: str, parameter: float | None) -> None:
    reply = chat(client, model=model)
    assert (reply.model, reply.trim["policy"], reply.trim["parameter"]) == (model, policy, parameter)
    assert client.models.retrieve(model).id == model
    if model == "trim-strong":
        assert reply.trim["strong_share"] == 1.0
        assert {step["role"] for step in reply.trim["steps"]} == {"strong"}


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
    assert int(headers["x-trim-weak-tokens"]) == trace.usage[Role.WEAK].completion_tokens


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


@pytest.mark.parametrize("most", [1, 39, 40, 41, 100])
def test_max_tokens(client: openai.OpenAI, most: int) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        reply = chat(client, "hard 7", seed=5, **{name: most})
        assert reply.usage.completion_tokens == most
        assert reply.choices[0].finish_reason == "length"


def test_stop_strings(client: openai.OpenAI) -> None:
    text = routed("hard 7", 5).text
    for stop in ("Step 2", "\n\nStep 3", "]\n\nStep 2", ["never", "draft"]):
        first = min(at for one in ([stop] if isinstance(stop, str) else stop) if (at := text.find(one)) >= 0)
        assert chat(client, "hard 7", seed=5, stop=stop).choices[0].message.content == text[:first]
        chunks = chat(client, "hard 7", seed=5, stop=stop, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text[:first]


@given(
    st.lists(st.text("ab\n", max_size=6), max_size=6),
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
)
def test_stops_do_not_depend_on_where_a_text_is_cut(parts: list[str], stops: list[str]) -> None:
    finder, told, text = StopStrings(tuple(stops)), "", "".join(parts)
    for part in parts:
        told += finder.feed(part)
        if finder.found:
            break
    else:
        told += finder.rest()
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    if not ends:
        assert (told, finder.found) == (text, False)
    else:
        # the first that is complete ends the text, as on a server that reads token by token
        assert finder.found
        assert text.startswith(told)
        assert not any(stop in told for stop in stops)


def test_sampling_reaches_the_models_or_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="sampling cannot be changed") as refused:
        chat(client, temperature=0.1)
    assert refused.value.param == "temperature"
    chat(client, temperature=0.7, top_p=0.8)  # the configured ones
    weak, strong = Sampled(Role.WEAK, 0.8), Sampled(Role.STRONG, 0.97)
    with serving(simulated(weak, strong)) as other:
        text = other.post(ask(temperature=0, top_p=0.5)).json()["choices"][0]["message"]["content"]
        assert all("t=0 p=0.5" in step for step in text.split("\n\n"))
        assert "t=0.7" not in other.post(ask()).text


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


def test_events_are_events(served: Served) -> None:
    answer = served.post(ask(stream=True, seed=5))
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    first = json.loads(events[0].removeprefix("data: "))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
