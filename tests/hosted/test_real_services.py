"""The real services, each behind its own environment variable with a key: they solve, stream, count and cancel.

`make test-hosted` runs this file; a plain `pytest` asks nobody. Questions are tiny and answers capped: about a cent for
each service with the default model. TRIM_HOSTED_OPENAI_MODEL and the like name another one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from trim.config.factory import Backends, open_backends
from trim.config.loading import load_config
from trim.config.model_names import PRESETS
from trim.policies import AlwaysWeak
from trim.types import Question, Role, StepOptions

TOKENS = 1000  # of an answer at most; models that reason need some before the first word
QUESTION = Question("What is 17 + 25? Give two short lines: first the sum in words, then the number.")
BEGUN = "Seventeen plus twenty-five is forty-two.\n\n"
DEFAULTS = {
    "openai": "gpt-5-nano",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash-lite",
    "openrouter": "qwen/qwen-2.5-7b-instruct",
    "mistral": "mistral-small-latest",
    "deepseek": "deepseek-chat",
    "groq": "llama-3.1-8b-instant",
    "together": "Qwen/Qwen2.5-7B-Instruct-Turbo",
    "xai": "grok-3-mini",
}
"""Small models; Azure has deployments of your own, Ollama and LM Studio what you have loaded."""
KINDS = [*DEFAULTS, "azure", "ollama", "lm-studio"]

pytestmark = [
    pytest.mark.skipif(os.environ.get("TRIM_HOSTED") != "all", reason="asks paid services: make test-hosted"),
    pytest.mark.parametrize("kind", KINDS),
]


@dataclass(frozen=True)
class Hosted:
    """A model of a service, and its key."""

    name: str
    key: str


def hosted(kind: str) -> Hosted:
    """The model to ask, or a reason to skip."""
    variable = f"TRIM_HOSTED_{kind.upper().replace('-', '_')}_MODEL"
    model = os.environ.get(variable) or DEFAULTS.get(kind, "")
    needed = PRESETS[kind].api_key_env
    if needed and not os.environ.get(needed):
        pytest.skip(f"{PRESETS[kind].title} is not asked: {needed} is not set")
    if not model:
        pytest.skip(f"{PRESETS[kind].title} is not asked: {variable} names no model")
    if kind == "azure" and not os.environ.get("AZURE_OPENAI_ENDPOINT"):
        pytest.skip("Azure OpenAI is not asked: AZURE_OPENAI_ENDPOINT is not set")
    address = f"@{os.environ['AZURE_OPENAI_ENDPOINT']}" if kind == "azure" else ""
    return Hosted(f"{kind}/{model}{address}", os.environ.get(needed, "") if needed else "")


async def opened(name: str, ask: Callable[[Backends], Awaitable[None]]) -> None:
    """Have a service asked."""
    config = load_config(None, models={"weak": name, "strong": name, "judge": "strong"}, environment={})
    async with open_backends(config) as backends:
        await ask(backends)


def test_it_solves_and_counts(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    model = hosted(kind)

    async def ask(backends: Backends) -> None:
        trace = await backends.router(AlwaysWeak(), max_tokens=TOKENS).route(QUESTION)
        used = trace.usage[Role.WEAK]
        assert "42" in trace.text
        assert used.prompt_tokens > 5
        assert 3 < used.completion_tokens <= TOKENS

    with caplog.at_level(logging.INFO):
        asyncio.run(opened(model.name, ask))
    assert not model.key or model.key not in caplog.text


def test_it_goes_on_with_what_another_model_has_written(kind: str) -> None:
    model = hosted(kind)

    async def ask(backends: Backends) -> None:
        stream = backends.weak.steps(QUESTION, (BEGUN,), StepOptions(max_tokens=TOKENS))
        text = "".join([step.text async for step in stream])
        assert "42" in text
        assert not text.strip().startswith(BEGUN.strip())

    asyncio.run(opened(model.name, ask))


def test_a_stream_that_is_closed_is_counted_and_the_next_one_works(kind: str) -> None:
    model = hosted(kind)

    async def ask(backends: Backends) -> None:
        question = Question("Count from one to forty in words, each on its own line with a blank line between.")
        for _ in range(2):
            stream = backends.weak.steps(question, (), StepOptions(max_tokens=TOKENS))
            step = await anext(stream)
            await stream.aclose()
            assert "one" in step.text.lower()
        assert backends.weak.usage.completion_tokens > 0
        assert backends.weak.usage.estimated  # the service told no total

    asyncio.run(opened(model.name, ask))
