"""Responses of the Responses API, read by OpenAI's SDK and checked against its types."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.server.gateway import STRONG, WEAK, Failing, Served, ask, serving, simulated
from tests.server.test_endpoints import routed
from trim.backends.base import BaseGenerator, step_stream
from trim.errors import BackendUnavailable
from trim.types import Finish, Question, Role, Step, StepOptions

PATH = "/v1/responses"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
HEAD = ["created", "in_progress", "output_item.added", "content_part.added"]
TAIL = ["output_text.done", "content_part.done", "output_item.done"]


def events(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each checked: its name, its number, and its form as the SDK declares it."""
    found = []
    for number, event in enumerate(text.removesuffix("\n\n").split("\n\n")):
        name, data = event.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        assert value["sequence_number"] == number
        EVENT.validate_python(value, strict=True)
        found.append(value)
    return found


def test_the_answer_is_that_of_a_chat(served: Served, client: openai.OpenAI) -> None:
    reply: Any = client.responses.create(model="trim", input="hard 7", extra_body={"seed": 5})
    chat = served.post(ask("hard 7", seed=5)).json()
    assert reply.output_text == routed("hard 7", 5).text == chat["choices"][0]["message"]["content"]
    assert (reply.object, reply.status, reply.model) == ("response", "completed", "trim")
    assert reply.trim == chat["trim"]
    assert reply.usage.input_tokens == chat["usage"]["prompt_tokens"]
    assert reply.usage.output_tokens == chat["usage"]["completion_tokens"]
    assert reply.usage.total_tokens == chat["usage"]["total_tokens"]
    (message,) = reply.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed")


def test_it_has_every_field_that_the_sdk_declares(served: Served) -> None:
    asked = {"instructions": "Be brief.", "metadata": {"a": "b"}, "max_output_tokens": 500, "store": True}
    answer = served.post({"input": "q", "model": "trim"} | asked, PATH)
    reply = answer.json()
    Response.model_validate(reply, strict=True)
    assert {name: reply[name] for name in asked} == asked | {"store": False}
    assert reply["id"].startswith("resp_")
    assert answer.headers["x-request-id"] == reply["id"]
    assert answer.headers["x-trim-ignored"] == "store"
    assert {"x-trim-policy", "x-trim-cost", "x-trim-strong-share"} <= set(answer.headers)


def test_the_events_of_a_stream(served: Served) -> None:
    whole = served.post({"input": "hard 7", "seed": 5}, PATH).json()
    answer = served.post({"input": "hard 7", "seed": 5, "stream": True}, PATH)
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events(answer.text)
    deltas = [event for event in found if event["type"] == "response.output_text.delta"]
    names = [event["type"].removeprefix("response.") for event in found]
    assert names == [*HEAD, *["output_text.delta"] * len(deltas), *TAIL, "completed"]
    text = "".join(event["delta"] for event in deltas)
    done = next(event for event in found if event["type"] == "response.output_text.done")
    last = found[-1]["response"]
    assert text == done["text"] == last["output"][0]["content"][0]["text"] == whole["output"][0]["content"][0]["text"]
    assert [event["trim"]["step"] for event in deltas] == whole["trim"]["steps"] == last["trim"]["steps"]
    assert last["usage"] == whole["usage"]
    assert len({event["item_id"] for event in found if "item_id" in event} | {last["output"][0]["id"]}) == 1
    assert len({event["response"]["id"] for event in found if "response" in event}) == 1


def test_the_sdks_stream(client: openai.OpenAI) -> None:
    with client.responses.stream(model="trim", input="hard 7", extra_body={"seed": 5}) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(texts) == final.output_text == routed("hard 7", 5).text
    raw = client.responses.create(model="trim", input="hard 7", stream=True, extra_body={"seed": 5})
    assert [type(event).__name__ for event in raw][-1] == "ResponseCompletedEvent"
    assert client.responses.parse(model="trim", input="hard 7", extra_body={"seed": 5}).output_text == final.output_text


def test_the_async_sdk_and_a_second_turn(served: Served) -> None:
    async def scenario() -> str:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
            said: Any = [{"role": "user", "content": "1 + 1?"}]
            first = await client.responses.create(model="trim", input=said)
            said += first.output  # as OpenAI's guide keeps a conversation without stored responses
            said.append({"role": "user", "content": "And now?"})
            second = await client.responses.create(model="trim", input=said)
            return second.output_text

    assert asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_a_limit_makes_it_incomplete(served: Served, stream: bool) -> None:
    answer = served.post({"input": "hard 7", "seed": 5, "max_output_tokens": 60, "stream": stream}, PATH)
    found = events(answer.text) if stream else []
    reply = found[-1]["response"] if stream else answer.json()
    Response.model_validate(reply, strict=True)
    assert (reply["status"], reply["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert reply["output"][0]["status"] == "incomplete"
    assert reply["usage"]["output_tokens"] == 60
    if stream:
        assert found[-1]["type"] == "response.incomplete"


def test_a_stop_string_ends_it(served: Served) -> None:
    whole = served.post({"input": "hard 7", "seed": 5, "stop": "Step 2"}, PATH).json()
    streamed = events(served.post({"input": "hard 7", "seed": 5, "stop": "Step 2", "stream": True}, PATH).text)
    text = whole["output"][0]["content"][0]["text"]
    assert "Step 1" in text
    assert "Step 2" not in text
    assert streamed[-1]["response"]["output"][0]["content"][0]["text"] == text
    assert whole["status"] == "completed"


def test_a_failure_before_the_text_has_its_status() -> None:
    with serving(simulated(Failing(WEAK, BackendUnavailable("weak model", "cannot be reached")))) as served:
        for stream in (False, True):
            answer = served.post({"input": "hard 7", "stream": stream}, PATH)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "backend_unavailable")


def test_a_failure_in_the_middle_is_an_event() -> None:
    failing = Failing(WEAK, BackendUnavailable("weak model", "cannot be reached"), after=2)
    with serving(simulated(failing)) as served:
        body = {"input": "hard 7", "model": "trim-weak", "stream": True}
        found = events(served.post(body, PATH).text)
        assert found[-1]["type"] == "response.failed"
        response = found[-1]["response"]
        assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
        assert "cannot be reached" in response["error"]["message"]
        text = "".join(event.get("delta", "") for event in found)
        assert response["output"][0]["content"][0]["text"] == text != ""
        assert response["trim"]["cost"] == served.spent(1).cost > 0
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
            last = list(client.responses.create(model="trim-weak", input="hard 7", stream=True))[-1]
            assert last.type == "response.failed"


@dataclass
class Ending(BaseGenerator):
    """A generator of one step and an end."""

    ends: tuple[Step, ...]

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        for step in self.ends[len(kept) :]:
            yield step


def ended(*ends: Step) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The response, and the events of a stream, of a model that writes these steps."""
    with serving(simulated(Ending(ends))) as served:
        body = {"input": "q", "model": "trim-weak"}
        whole = served.post(body, PATH).json()
        found = events(served.post(body | {"stream": True}, PATH).text)
    Response.model_validate(whole, strict=True)
    response = found[-1]["response"]
    names = ("status", "incomplete_details", "usage")
    assert {name: response[name] for name in names} == {name: whole[name] for name in names}
    assert response["output"][0]["content"] == whole["output"][0]["content"]
    return whole, found


def test_a_refusal_is_a_part_of_its_own() -> None:
    text, refusal = Step("Well.\n\n", Role.WEAK, 2), Step("I cannot.", Role.WEAK, 3, Finish.REFUSAL)
    whole, found = ended(text, refusal)
    first, second = whole["output"][0]["content"]
    assert (first["type"], first["text"].strip()) == ("output_text", "Well.")
    assert second == {"type": "refusal", "refusal": "I cannot."}
    names = [event["type"].removeprefix("response.") for event in found]
    parts = ["content_part.added", "output_text.delta", "output_text.done", "content_part.done"]
    refused = [name.replace("output_text", "refusal") for name in parts]
    assert names == ["created", "in_progress", "output_item.added", *parts, *refused, "output_item.done", "completed"]
    assert [event["content_index"] for event in found if "content_index" in event] == [0] * 4 + [1] * 4


def test_a_refusal_alone() -> None:
    whole, found = ended(Step("I cannot.", Role.WEAK, 3, Finish.REFUSAL))
    assert whole["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot."}]
    assert [event["trim"]["step"] for event in found if "trim" in event] == whole["trim"]["steps"]


def test_a_filtered_answer_is_incomplete() -> None:
    whole, _ = ended(Step("Well.", Role.WEAK, 2, Finish.CONTENT_FILTER))
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})


def test_an_answer_without_text_has_an_empty_part() -> None:
    whole, found = ended(Step("", Role.WEAK, 1, Finish.EOS))
    assert [part["text"] for part in whole["output"][0]["content"]] == [""]
    assert found[-1]["type"] == "response.completed"


def test_keys_caps_and_records_are_those_of_chats() -> None:
    with serving(simulated(WEAK, STRONG, spend_per_hour=1.5e-4)) as served:
        assert served.post({"input": "q"}, PATH).status_code == 200
        assert served.spent(1).cost > 0
        assert served.gateway.recent[0].question == "q"
        answer = next(a for _ in range(20) if (a := served.post({"input": "q"}, PATH)).status_code != 200)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
        assert 'trim_requests_total{policy="threshold",status="ok"}' in served.get("/metrics").text
