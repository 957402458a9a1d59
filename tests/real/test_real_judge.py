"""A real open model that is asked about steps, behind llama.cpp's own server: its prefix cache serves the questions.

`make test-real` fetches the model and runs this folder; a plain `pytest` leaves it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.real.test_real_models import FILE
from trim.backends.gguf import LlamaServer
from trim.scoring.llm_judge import FORMS, Form, LlmJudge
from trim.types import Question

QUESTION = Question("Tom has 3 boxes with 12 apples each. He gives 10 apples away. How many apples are left?")
STEPS = (
    "Tom has 3 boxes with 12 apples each, so he has 3 * 12 = 36 apples.",
    "He gives 10 apples away, so 36 - 10 = 26 apples are left.",
    "The answer is \\boxed{26}.",
)
_TURN = 12  # tokens at most of the end of the message and the head of the answer, which each question reads again


@dataclass(frozen=True)
class Read:
    """Prompt tokens of a question, and how many of them the server read now."""

    prompt: int
    fresh: int


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    if not FILE.is_file():
        pytest.skip(f"{FILE} is not there: make test-real fetches it")
    server = LlamaServer(FILE, context=2048, slots=2)
    yield server
    server.close()


def _tokens(server: LlamaServer, text: str) -> int:
    """As the server counts them."""
    headers = {"Authorization": f"Bearer {server.api_key}"}
    answer = httpx.post(f"{server.base_url.removesuffix('/v1')}/tokenize", json={"content": text}, headers=headers)
    return len(answer.json()["tokens"])


async def _asked(judge: LlmJudge, question: Question) -> list[Read]:
    """What each question about the steps of a solution takes, one after the other."""
    reads = []
    for count in range(1, len(STEPS) + 1):
        prompt, cached = judge.usage.prompt_tokens, judge.usage.cached_tokens
        scores = await judge.score(question, STEPS[:count])
        assert all(0.0 <= value <= 1.0 for value in scores.values)
        new, held = judge.usage.prompt_tokens - prompt, judge.usage.cached_tokens - cached
        reads.append(Read(new, new - held))
    return reads


@pytest.mark.parametrize("form", [FORMS["yes-no"], FORMS["grade"]], ids=lambda form: form.name)
def test_the_second_question_about_a_solution_reads_only_the_new_step(server: LlamaServer, form: Form) -> None:
    async def ask() -> list[Read]:
        judge = LlmJudge(server.base_url, "m", form, api_key=server.api_key, retries=0)
        try:
            return await _asked(judge, QUESTION)
        finally:
            await judge.aclose()

    reads = asyncio.run(ask())
    for step, before, read in zip(STEPS[1:], reads, reads[1:], strict=False):
        assert before.prompt < read.prompt
        assert 0 < read.fresh <= _tokens(server, f"\n\n{step}") + _TURN
        assert read.fresh < read.prompt / 2


def test_two_solutions_at_the_same_time_keep_their_caches(server: LlamaServer) -> None:
    other = Question("Ann has 3 bags with 12 pears each. She gives 10 pears away. How many pears has she left?")

    async def ask() -> int:
        judge = LlmJudge(server.base_url, "m", FORMS["yes-no"], api_key=server.api_key, retries=0)
        try:
            await asyncio.gather(judge.score(QUESTION, STEPS[:2]), judge.score(other, STEPS[:2]))
            prompt, cached = judge.usage.prompt_tokens, judge.usage.cached_tokens
            await asyncio.gather(judge.score(QUESTION, STEPS), judge.score(other, STEPS))
            return judge.usage.prompt_tokens - prompt - judge.usage.cached_tokens + cached
        finally:
            await judge.aclose()

    assert 0 < asyncio.run(ask()) <= 2 * (_tokens(server, f"\n\n{STEPS[2]}") + _TURN)
