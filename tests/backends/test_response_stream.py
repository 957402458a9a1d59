"""Chunks of answers in every server's shape."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from trim.backends.client import Server
from trim.backends.response_stream import Answer, finish_reason, read_chunk, whole
from trim.backends.step_assembly import Chunk
from trim.backends.token_counts import TokenCounts
from trim.backends.token_logprobs import TokenLogprob
from trim.errors import BadResponse

SERVER = Server("weak model", "http://127.0.0.1:9/v1", "m")


@pytest.mark.parametrize(
    ("raw", "chunk"),
    [
        ({"choices": [{"text": "a", "finish_reason": None}]}, Chunk("a")),
        ({"choices": [{"delta": {"content": "a"}}]}, Chunk("a")),
        ({"choices": [{"delta": {"role": "assistant", "content": None}}]}, Chunk()),
        ({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}, Chunk("a", finish="stop")),
        (
            {"choices": [{"text": "", "finish_reason": "stop", "stop_reason": "\n\n"}]},
            Chunk(finish="stop", stop="\n\n", told=True),
        ),
        ({"choices": [{"text": "", "finish_reason": "stop", "stop_reason": 7}]}, Chunk(finish="stop", told=True)),
        (
            {
                "choices": [],
                "usage": {
                    "completion_tokens": 3,
                    "prompt_tokens": 9,
                    "prompt_tokens_details": {"cached_tokens": 4},
                },
            },
            Chunk(counts=TokenCounts(9, 4, 3)),
        ),
        (
            {"choices": [{"text": "a", "logprobs": {"token_logprobs": [None, -0.5]}}]},
            Chunk("a", logprobs=(TokenLogprob(-0.5),)),
        ),
        (
            {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [{"logprob": -0.5}]}}]},
            Chunk("a", logprobs=(TokenLogprob(-0.5),)),
        ),
        (  # an impossible token, as servers write it in JSON
            {"choices": [{"text": "a", "logprobs": {"content": [{"logprob": -3.4e38}, {"logprob": 1e-9}, {}]}}]},
            Chunk("a", logprobs=(TokenLogprob(-100.0), TokenLogprob(0.0))),
        ),
        (
            {"choices": [{"text": "a", "logprobs": {"token_logprobs": [float("nan"), "x", -1]}}]},
            Chunk("a", logprobs=(TokenLogprob(-1),)),
        ),
        ({}, Chunk()),
        ({"choices": None}, Chunk()),
        ({"type": "ping"}, Chunk()),
        ({"choices": [{"delta": None, "finish_reason": "stop"}]}, Chunk(finish="stop")),
        ({"choices": [{"delta": {"refusal": "No."}}]}, Chunk(refusal="No.")),
        ({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"type": "x"}]}}]}, Chunk("a")),
        ({"choices": [{"text": "a", "finish_reason": "eos_token"}]}, Chunk("a", finish="stop")),
        ({"choices": [{"text": "a", "finish_reason": ""}]}, Chunk("a")),
    ],
)
def test_every_shape_is_read(raw: dict[str, Any], chunk: Chunk) -> None:
    assert read_chunk(raw) == chunk


@pytest.mark.parametrize("raw", [{}, {"choices": 3}, {"choices": []}, {"choices": [{"delta": 5}]}])
def test_another_shape_is_an_error_that_names_the_server(raw: Any) -> None:
    with pytest.raises(BadResponse, match=r"weak model m at http://127\.0\.0\.1:9/v1: an answer of another shape"):
        asyncio.run(Answer(SERVER, whole(raw)).next())


def test_an_answer_ends_once() -> None:
    async def run() -> None:
        answer = Answer(SERVER, whole({"choices": [{"text": "a"}]}))
        assert await answer.next() == Chunk("a")
        assert await answer.next() is None
        await answer.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("told", "means"),
    [
        (None, None),
        ("stop", "stop"),
        ("STOP", "stop"),
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("end_turn", "stop"),
        ("tool_calls", "stop"),
        ("something new", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("content_filter: RECITATION", "content_filter"),
        ("error", "error"),
        ("abort", "abort"),
        ("insufficient_system_resource", "insufficient_system_resource"),
    ],
)
def test_why_an_answer_ended_has_one_name(told: str | None, means: str | None) -> None:
    assert finish_reason(told) == means
