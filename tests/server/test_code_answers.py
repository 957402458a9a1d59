"""Answers with code reach the caller byte for byte, whichever model writes their steps and however they are sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.fake_server import Habits
from tests.backends.fake_server import serving as fake_serving
from tests.server.gateway import Served, ask, serving
from trim.config.factory import open_backends
from trim.config.settings import Config, GenerationSettings, ModelSettings, PrmSettings
from trim.policies import AlwaysWeak, RandomSteps
from trim.protocols import Policy
from trim.server.gateway import open_gateway
from trim.types import Question, Trace

ANSWERS = {
    path.stem: path.read_bytes().decode()
    for path in sorted((Path(__file__).parent.parent / "data" / "code_answers").iterdir())
}
SMALL = {
    "an emoji": "\N{THUMBS UP SIGN}",
    "an arrow and a blank line": "\N{RIGHTWARDS ARROW}\n\n",
    "three dots": "\u2026",
    "white space around": "\n\n  a\n\n\n  b \n \n\n",
    "code without a fence": "def f():\n    a = 1\n\n    return a\n",
    "looks like the end": "#### Step 1: Read\n\nI will use \\boxed{7}.\n\n#### 42\n\nAnd so on.",
    "half a block": "```\na\n\nb",
    "many paragraphs": "".join(f"Line {number}.\n\n" for number in range(40)),
    "a rule between": "a\n\n---\n\n***\n\nb\n\n---",
}


def config_of(habits: Habits, lookahead: int = 1) -> Config:
    model = ModelSettings(backend="vllm", base_url=f"{habits.url}/v1", model="m", retries=0, template="trim")
    judge = PrmSettings(backend="vllm", base_url=habits.url, model="m", retries=0)
    return Config(model, model, judge, generation=GenerationSettings(lookahead=lookahead))


def texts_of(served: Served, name: str) -> Iterator[str]:
    """The answer as a whole, and as its chunks add up."""
    yield served.post(ask(model=name)).json()["choices"][0]["message"]["content"]
    events = [line[6:] for line in served.post(ask(model=name, stream=True)).text.split("\n") if line[:6] == "data: "]
    chunks = [json.loads(event) for event in events[:-1]]
    yield "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


@pytest.mark.parametrize("answer", [*ANSWERS.values(), *SMALL.values()], ids=[*ANSWERS, *SMALL])
def test_the_gateway_changes_nothing(answer: str) -> None:
    with fake_serving(solution=answer, chunk=3) as habits:
        config = config_of(habits)
        with serving(lambda: open_gateway(config)) as served:
            for name in ("trim-weak", "trim-strong", "trim"):
                assert [*texts_of(served, name)] == [answer] * 2


@pytest.mark.parametrize("answer", [*ANSWERS.values(), *SMALL.values()], ids=[*ANSWERS, *SMALL])
@pytest.mark.parametrize("policy", [AlwaysWeak(), RandomSteps(0.5)])
def test_how_steps_are_asked_for_changes_nothing(answer: str, policy: Policy) -> None:
    """One stream read ahead or a request for each step: the same cuts, and nothing is lost between models."""

    async def run(lookahead: int) -> Trace:
        async with open_backends(config_of(habits, lookahead)) as backends:
            return await backends.router(policy, max_steps=1000, answer=None).route(Question("q"))

    with fake_serving(solution=answer) as habits:
        traces = [asyncio.run(run(lookahead)) for lookahead in (0, 2)]
    assert [trace.text for trace in traces] == [answer] * 2
    assert [step.text for step in traces[0].steps] == [step.text for step in traces[1].steps]
    counts = [[step.tokens for step in trace.steps[:-1]] for trace in traces]  # the server counts ends in two ways
    assert counts[0] == counts[1]
