"""What a probe finds out about servers."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.backends.fake_server import Habits, serving
from trim.backends.openai import OpenAIGenerator
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


def test_probe() -> None:
    with serving(context=500) as habits:
        found = asyncio.run(_probe(model(habits)))
        assert found.reachable and found.streaming and found.usage and found.running_usage and found.stop
        assert found.stop_told and found.continuation
        assert (found.models, found.context, found.problem) == (("m",), 500, None)
    with serving(usage="none", tell=None) as habits:
        found = asyncio.run(_probe(model(habits)))
        assert (found.usage, found.running_usage, found.stop_told) == (False, False, False)
    found = asyncio.run(_probe(model(habits, retries=0)))
    assert not found.reachable
    assert "cannot be reached" in found.problem
