"""What a probe finds out about servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.backends.fake_server import Habits, serving
from trim.backends.client import TokenCounter
from trim.backends.openai import OpenAIGenerator
from trim.backends.probe import describe
from trim.prompts import load_template
from trim.types import Question, Role

QUESTION = Question("How many apples does Tom have?")


def model(habits: Habits, **changes: Any) -> OpenAIGenerator:
    options: dict[str, Any] = {"backend": "vllm", "template": load_template("trim"), "retries": 2} | changes
    return OpenAIGenerator(habits.url + "/v1", "m", Role.WEAK, **options)


async def _probe(generator: OpenAIGenerator) -> Any:
    try:
        return await generator.probe()
    finally:
        await generator.aclose()


@pytest.mark.parametrize("repeats", [True, False])
def test_probe_says_whether_a_chat_repeats_the_partial_answer(repeats: bool, counter: TokenCounter) -> None:
    with serving(repeat=repeats, usage="end") as habits:
        chat = {"backend": "llama-server", "continuation": "chat", "tokenizer": counter}
        found = asyncio.run(_probe(model(habits, **chat)))
        assert (found.repeats_prefix, found.problem) == (repeats, None)
        assert f"repeats the partial answer: {'yes' if repeats else 'no'}" in describe(found)
        assert asyncio.run(_probe(model(habits))).repeats_prefix is None


def test_probe() -> None:
    with serving(context=500) as habits:
        found = asyncio.run(_probe(model(habits)))
        assert found.reachable and found.streaming and found.usage and found.running_usage and found.stop
        assert found.stop_told and found.continuation
        assert (found.models, found.context, found.problem) == (("m",), 500, None)
    with serving(usage="zeros") as habits:
        found = asyncio.run(_probe(model(habits)))
        assert (found.usage, found.running_usage) == (True, False)
    with serving(usage="none", tell=None) as habits:
        found = asyncio.run(_probe(model(habits)))
        assert (found.usage, found.running_usage, found.stop_told) == (False, False, False)
    found = asyncio.run(_probe(model(habits, retries=0)))
    assert not found.reachable
    assert "cannot be reached" in found.problem
