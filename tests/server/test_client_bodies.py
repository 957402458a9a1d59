"""What clients really send is served: bodies of current versions, recorded from the client or read in its source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.server.gateway import Sampled, Served, serving, simulated
from trim.server.request_parsing import parse
from trim.server.responses_request import ResponsesRequest
from trim.server.schemas import BaseRequest, ChatRequest, CompletionRequest
from trim.simulation import SimulatedPrm
from trim.types import Message, Question, Role

CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
KINDS: dict[str, type[BaseRequest]] = {CHAT: ChatRequest, TEXT: CompletionRequest, RESPONSES: ResponsesRequest}

BRIEF, SUM, TWO, NEXT = "Be brief.", "1+1?", "2", "2+2?"
TURN = [{"role": "user", "content": SUM}, {"role": "assistant", "content": TWO}, {"role": "user", "content": NEXT}]
SYSTEM: list[dict[str, Any]] = [{"role": "system", "content": BRIEF}]
SAID = (Message("user", SUM), Message("assistant", TWO))
ASKED = Question(NEXT, messages=(Message("system", BRIEF), *SAID))


def typed(kind: str, text: str) -> list[dict[str, Any]]:
    return [{"type": kind, "text": text}]


@dataclass(frozen=True)
class Sent:
    """A body that a client sends, the question in it, and the fields that the response calls ignored."""

    client: str
    path: str
    body: dict[str, Any]
    question: Question
    ignored: str = ""


TABLE = [
    # Recorded with openai 3.54 (Python): a message of the SDK itself goes back with its nulls.
    Sent("openai-python", CHAT, {"messages": [{"role": "user", "content": SUM}], "model": "trim"}, Question(SUM)),
    Sent(
        "openai-python, a dumped message",
        CHAT,
        {
            "messages": [
                TURN[0],
                {
                    **{"content": TWO, "refusal": None, "role": "assistant", "annotations": None, "audio": None},
                    **{"function_call": None, "tool_calls": None},
                },
                TURN[2],
            ],
            "model": "trim",
            "stream": True,
            "stream_options": {"include_usage": True, "include_obfuscation": False},
        },
        Question(NEXT, messages=SAID),
    ),
    Sent(
        "openai-python, responses",
        RESPONSES,
        {
            "input": [{"role": "developer", "content": BRIEF}, {"role": "user", "content": typed("input_text", SUM)}],
            "max_output_tokens": 30,
            "model": "trim",
            "stream": True,
        },
        Question(SUM, messages=(Message("system", BRIEF),)),
    ),
    # The output of one response is the input of the next: `input += response.output` in OpenAI's guide.
    Sent(
        "openai-python, output of a response",
        RESPONSES,
        {
            "input": [
                TURN[0],
                {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": None, "status": None},
                {
                    "id": "msg_1",
                    "content": [{"annotations": [], "text": TWO, "type": "output_text", "logprobs": []}],
                    "role": "assistant",
                    "status": "completed",
                    "type": "message",
                    "phase": None,
                },
                TURN[2],
            ],
            "instructions": BRIEF,
            "store": False,
        },
        ASKED,
        "store",
    ),
    # Recorded with openai 6.49 (Node).
    Sent("openai-node", RESPONSES, {"model": "trim", "input": SUM}, Question(SUM)),
    Sent(
        "openai-node, stream",
        CHAT,
        {
            **{"model": "trim", "messages": [{"role": "user", "content": SUM}], "stream": True},
            **{"stream_options": {"include_usage": True}},
        },
        Question(SUM),
    ),
    # Recorded with langchain-openai 1.7.4.
    Sent(
        "langchain",
        CHAT,
        {
            "messages": [
                {"content": BRIEF, "role": "system"},
                {"content": SUM, "name": "ann", "role": "user"},
                {"content": TWO, "role": "assistant"},
                {"content": typed("text", NEXT), "role": "user"},
            ],
            **{"model": "trim", "max_completion_tokens": 50, "n": 1, "seed": 3, "stop": ["END"], "stream": False},
            **{"temperature": 0.2, "reasoning_effort": "low", "verbosity": "low"},
        },
        ASKED,
        "reasoning_effort, verbosity",
    ),
    Sent(
        "langchain, responses",
        RESPONSES,
        {
            "input": [
                {"content": BRIEF, "role": "system", "type": "message"},
                {"content": SUM, "role": "user", "type": "message"},
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": TWO, "annotations": []}],
                },
                {"content": typed("input_text", NEXT), "role": "user", "type": "message"},
            ],
            **{"max_output_tokens": 50, "model": "trim", "stream": True},
        },
        ASKED,
    ),
    # Recorded with @langchain/openai 1.5.8; LibreChat sends the same through it, with the fields of its
    # packages/api/src/endpoints/openai/llm.ts.
    Sent(
        "langchain-js, librechat",
        CHAT,
        {
            **{"model": "trim", "stream": True, "stream_options": {"include_usage": True}},
            **{"user": "66b2", "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0},
            **{"include_reasoning": True, "messages": SYSTEM + TURN},
        },
        ASKED,
        "include_reasoning, user",
    ),
    # Recorded with litellm 1.110.2: `openai/`, and `hosted_vllm/` with vLLM's options.
    Sent(
        "litellm",
        CHAT,
        {"model": "trim", "messages": SYSTEM + TURN, "temperature": 0.1, "max_tokens": 20, "top_k": 4},
        ASKED,
    ),
    Sent(
        "litellm, vllm",
        CHAT,
        {
            **{"model": "trim", "messages": SYSTEM + TURN, "top_k": 4, "min_p": 0.1},
            "chat_template_kwargs": {"enable_thinking": False},
        },
        ASKED,
        "chat_template_kwargs, min_p",
    ),
    # litellm's proxy hands a history on as the client dumped it: litellm/types/utils.py, class Message.
    Sent(
        "litellm proxy, a dumped message",
        CHAT,
        {
            "model": "trim",
            "messages": [
                TURN[0],
                {
                    **{"content": TWO, "role": "assistant", "tool_calls": None, "function_call": None, "images": []},
                    **{"provider_specific_fields": {"refusal": None}, "reasoning_content": "One and one."},
                    "thinking_blocks": [{"type": "thinking", "thinking": "One and one."}],
                },
                {"role": "user", "content": [{"type": "text", "text": NEXT, "cache_control": {"type": "ephemeral"}}]},
            ],
            "metadata": {"tags": ["a"], "spend": {"team": 1}},
        },
        Question(NEXT, messages=SAID),
        "metadata",
    ),
    # backend/open_webui/utils/payload.py and routers/openai.py; the user is an object where a model is a pipeline.
    Sent(
        "open-webui",
        CHAT,
        {
            **{"stream": True, "model": "trim", "messages": SYSTEM + TURN},
            **{"temperature": 0.7, "top_p": 0.9, "max_tokens": 256, "frequency_penalty": 0, "presence_penalty": 0},
            **{"seed": 1, "stop": ["END"], "logit_bias": {}, "reasoning_effort": "medium", "tools": [], "min_p": 0.05},
            "user": {"name": "Ann", "id": "1", "email": "ann@example.org", "role": "user"},
        },
        ASKED,
        "min_p, reasoning_effort, user",
    ),
    Sent(
        "open-webui, ollama's options",
        CHAT,
        {"model": "trim", "messages": TURN, "options": {"num_ctx": 4096}, "num_ctx": 4096, "keep_alive": "5m"},
        Question(NEXT, messages=SAID),
        "keep_alive, num_ctx, options",
    ),
    # Recorded with ai 6.0.326, @ai-sdk/openai 3.0.141 and @ai-sdk/openai-compatible 2.0.92.
    Sent(
        "vercel ai sdk",
        RESPONSES,
        {
            "model": "trim",
            "input": [
                {"role": "user", "content": typed("input_text", SUM)},
                {"role": "assistant", "content": typed("output_text", TWO), "id": "msg_1"},
                {"role": "user", "content": typed("input_text", NEXT)},
            ],
            **{"temperature": 0.2, "max_output_tokens": 40, "store": False},
        },
        Question(NEXT, messages=SAID),
        "store",
    ),
    Sent(
        "vercel ai sdk, chat",
        CHAT,
        {"model": "trim", "max_tokens": 40, "temperature": 0.2, "messages": TURN},
        Question(NEXT, messages=SAID),
    ),
    Sent(
        "vercel ai sdk, completion",
        TEXT,
        {
            **{"model": "trim", "prompt": "user:\n1+1?\n\nassistant:\n", "stop": ["\nuser:"], "stream": True},
            "stream_options": {"include_usage": True},
        },
        Question("user:\n1+1?\n\nassistant:\n"),
    ),
    # Recorded with inspect_ai 0.3.285: `openai-api/`, and `openai/` which uses responses and asks whether the model
    # reasons.
    Sent(
        "inspect",
        CHAT,
        {"model": "trim", "messages": SYSTEM + TURN, "max_tokens": 30, "seed": 3, "temperature": 0.1},
        ASKED,
    ),
    Sent(
        "inspect, whether it reasons",
        RESPONSES,
        {
            **{"model": "trim", "input": "Please say 'hello, world'"},
            "reasoning": {"effort": "low", "summary": "auto"},
        },
        Question("Please say 'hello, world'"),
        "reasoning",
    ),
    Sent(
        "inspect, responses",
        RESPONSES,
        {
            "model": "trim",
            "include": ["reasoning.encrypted_content"],
            "input": [
                {"type": "message", "role": "developer", "content": typed("input_text", BRIEF)},
                {"type": "message", "role": "user", "content": typed("input_text", SUM)},
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": TWO, "annotations": [], "logprobs": []}],
                    "status": "completed",
                },
                {"type": "message", "role": "user", "content": typed("input_text", NEXT)},
            ],
            **{"max_output_tokens": 30, "store": False, "temperature": 0.1},
        },
        ASKED,
        "include, store",
    ),
    # Recorded with autogen-ext 0.7.5 and llama-index-llms-openai 0.8.3.
    Sent(
        "autogen",
        CHAT,
        {
            "messages": [
                {"content": BRIEF, "role": "system"},
                {"role": "user", "name": "ann", "content": SUM},
                {"role": "assistant", "content": TWO},
                {"role": "user", "name": "ann", "content": NEXT},
            ],
            **{"model": "trim", "stream": False},
        },
        ASKED,
    ),
    Sent(
        "llama-index",
        CHAT,
        {"messages": SYSTEM + TURN, "model": "trim", "stream": True, "temperature": 0.1},
        ASKED,
    ),
    Sent(
        "llama-index, responses",
        RESPONSES,
        {
            **{"include": None, "input": [{"role": "developer", "content": BRIEF}, *TURN], "instructions": None},
            **{"max_output_tokens": None, "metadata": None, "model": "trim", "previous_response_id": None},
            **{"store": False, "stream": False, "temperature": 0.1, "tools": [], "top_p": 1.0},
            **{"truncation": "disabled", "user": None},
        },
        ASKED,
        "store, truncation",
    ),
    # core/llm/openaiTypeConverters.ts: an empty answer is sent as a space.
    Sent(
        "continue",
        CHAT,
        {
            "messages": [SYSTEM[0], TURN[0], {"role": "assistant", "content": " "}, TURN[2]],
            **{"model": "trim", "max_tokens": 2048, "temperature": 0.5, "stream": True, "frequency_penalty": 0},
            "prediction": {"type": "content", "content": "2"},
        },
        Question(NEXT, messages=(Message("system", BRIEF), SAID[0], Message("assistant", " "))),
        "prediction",
    ),
    # src/core/api/providers/openai.ts: parts of text, and for reasoning models a developer message.
    Sent(
        "cline",
        CHAT,
        {
            "model": "trim",
            "messages": [
                {"role": "developer", "content": BRIEF},
                {"role": "user", "content": [*typed("text", "<task>"), *typed("text", SUM)]},
                {"role": "assistant", "content": TWO, "reasoning_details": []},
                {"role": "user", "content": typed("text", NEXT)},
            ],
            **{"reasoning_effort": "medium", "stream": True, "stream_options": {"include_usage": True}},
        },
        Question(NEXT, messages=(Message("system", BRIEF), Message("user", f"<task>\n{SUM}"), SAID[1])),
        "reasoning_effort",
    ),
    # aider/models.py, send_completion, through litellm; its reminder is a system message at the end.
    Sent(
        "aider",
        CHAT,
        {"model": "trim", "messages": [*TURN, *SYSTEM], "temperature": 0, "stream": True},
        Question(NEXT, messages=(*SAID, Message("system", BRIEF))),
    ),
]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    weak, strong = Sampled(Role.WEAK, 0.8), Sampled(Role.STRONG, 0.97)
    with serving(simulated(weak, strong, SimulatedPrm(0.9), max_tokens=60)) as running:
        yield running


@pytest.mark.parametrize("sent", TABLE, ids=lambda sent: sent.client)
def test_a_body_is_understood(sent: Sent) -> None:
    request = parse(json.dumps(sent.body).encode(), KINDS[sent.path])
    assert request.questions() == [sent.question]
    assert ", ".join(request.ignored) == sent.ignored


@pytest.mark.parametrize("sent", TABLE, ids=lambda sent: sent.client)
def test_a_body_is_answered(served: Served, sent: Sent) -> None:
    answer = served.post(sent.body, sent.path)
    assert answer.status_code == 200, answer.text
    assert answer.headers.get("x-trim-ignored", "") == sent.ignored
    assert answer.text.startswith(("data: ", "event: ") if sent.body.get("stream") else "{")
    assert '"error":{' not in answer.text


def test_what_an_assistant_may_have_said_is_history() -> None:
    said: list[tuple[dict[str, Any], str]] = [
        ({"content": None, "refusal": "I cannot."}, "I cannot."),
        ({"content": [{"type": "refusal", "refusal": "I cannot."}]}, "I cannot."),
        ({"content": None, "tool_calls": [], "reasoning": "Hm."}, ""),
        ({"tool_calls": None, "function_call": None, "annotations": []}, ""),
    ]
    for message, text in said:
        body = {"messages": [TURN[0], {"role": "assistant"} | message, TURN[2]]}
        (question,) = parse(json.dumps(body).encode(), ChatRequest).questions()
        assert question.messages == (SAID[0], Message("assistant", text))
