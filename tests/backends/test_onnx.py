"""The shipped models as generators and judge."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trim.backends.onnx import EmbeddedGenerator, choose_token
from trim.backends.onnx_engine import Array
from trim.backends.onnx_model import Tokens, shipped
from trim.policies import AlwaysWeak, RandomSteps
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.tasks.gsm_symbolic import FAMILY
from trim.testing import check_generator
from trim.types import Finish, Message, Question, Role, Sampling, Step, StepOptions, Trace

QUESTIONS = FAMILY.problems(900_123, 12)


async def solve(limits: Limits, together: int, seed: int = 3) -> list[Trace]:
    weak = EmbeddedGenerator("weak", Role.WEAK)
    strong = EmbeddedGenerator("strong", Role.STRONG)
    router = Router(weak, strong, None, RandomSteps(0.3), limits=limits)
    gate = asyncio.Semaphore(together)

    async def one(question: Question) -> Trace:
        async with gate:
            return await router.route(question, seed=seed)

    try:
        return await asyncio.gather(*(one(question) for question in QUESTIONS))
    finally:
        await weak.aclose()
        await strong.aclose()


def test_seeded_runs_repeat_exactly_whatever_runs_beside_them() -> None:
    runs = [
        asyncio.run(solve(Limits(lookahead=lookahead), together))
        for lookahead, together in [(1, 12), (1, 1), (0, 5), (2, 12)]
    ]
    for other in runs[1:]:
        for first, second in zip(runs[0], other, strict=True):
            assert first.text == second.text
            assert [d.action for d in first.decisions] == [d.action for d in second.decisions]
    another = asyncio.run(solve(Limits(), 12, seed=4))
    assert [trace.text for trace in another] != [trace.text for trace in runs[0]]


async def pull(generator: EmbeddedGenerator, kept: tuple[str, ...], options: StepOptions) -> list[Step]:
    return [step async for step in generator.steps(QUESTIONS[0], kept, options)]


def test_options() -> None:
    async def scenario() -> None:
        generator = EmbeddedGenerator("weak", Role.WEAK)
        whole = await pull(generator, (), StepOptions())
        assert whole[-1].finish is Finish.EOS
        assert [step.finish for step in whole[:-1]] == [Finish.SEPARATOR] * (len(whole) - 1)
        assert whole[0].prompt_tokens > 0
        assert all(step.prompt_tokens == 0 for step in whole[1:])
        single = await pull(generator, (), StepOptions(limit=1))
        assert [step.text for step in single] == [whole[0].text]
        assert single[0].cached_tokens <= single[0].prompt_tokens == whole[0].prompt_tokens
        second = await pull(generator, (whole[0].text,), StepOptions(limit=1))
        assert second[0].text == whole[1].text
        free = EmbeddedGenerator("weak", Role.WEAK, Sampling(temperature=2.0, top_p=1.0, max_step_tokens=12))
        attempts = {(await pull(free, (), StepOptions(limit=1, attempt=i)))[0].text for i in range(8)}
        assert len(attempts) > 1
        await free.aclose()
        short = await pull(generator, (), StepOptions(max_tokens=5))
        assert sum(step.tokens for step in short) == 5
        assert short[-1].finish is Finish.LENGTH
        await generator.aclose()

    asyncio.run(scenario())


def test_a_step_that_never_ends_is_cut_at_the_limit() -> None:
    async def scenario() -> None:
        generator = EmbeddedGenerator("weak", Role.WEAK, Sampling(max_step_tokens=4))
        steps = await pull(generator, (), StepOptions())
        assert [step.finish for step in steps] == [Finish.LENGTH]
        assert steps[0].tokens == 4
        await generator.aclose()

    asyncio.run(scenario())


def test_a_solution_goes_on_behind_a_step_at_the_limit() -> None:
    async def solution(sampling: Sampling) -> Trace:
        weak = EmbeddedGenerator("weak", Role.WEAK, sampling)
        try:
            return await Router(weak, weak, None, AlwaysWeak()).route(QUESTIONS[0])
        finally:
            await weak.aclose()

    whole, cut = asyncio.run(solution(Sampling(0))), asyncio.run(solution(Sampling(0, max_step_tokens=12)))
    assert len(cut.steps) > len(whole.steps)
    assert Finish.LENGTH in {step.finish for step in cut.steps}
    assert cut.text == whole.text


def test_cancelling_stops_the_writing_and_counts_it() -> None:
    async def scenario() -> None:
        generator = EmbeddedGenerator(
            "weak", Role.WEAK, Sampling(max_step_tokens=2000, temperature=5.0, top_p=1.0, top_k=0)
        )
        stream = generator.steps(QUESTIONS[0], (), StepOptions())
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.3)
        if not task.done():
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert stream.pending_tokens >= 0
        assert (await pull(generator, (), StepOptions(limit=1)))[0].text is not None
        await generator.aclose()

    asyncio.run(scenario())


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.999999))
@settings(max_examples=60, deadline=None)
def test_sampling_keeps_to_top_k_and_top_p(seed: int, draw: float) -> None:
    logits: Array = np.random.default_rng(seed).normal(0, 3, 300).astype(np.float32)
    sampling = Sampling(temperature=0.7, top_p=0.8, top_k=20)
    token, logprob, entropy = choose_token(logits, sampling, draw)
    order = np.argsort(-logits)
    assert token in order[:20]
    top = np.exp((logits[order[:20]].astype(float) - logits.max()) / 0.7)
    before = top[: list(order).index(token)].sum() / top.sum()
    assert before < 0.8 + 1e-9
    assert logprob <= 0
    assert 0 <= entropy <= np.log(300) + 1e-9
    assert choose_token(logits, Sampling(temperature=0), draw)[0] == int(logits.argmax())


def test_sampling_follows_the_probabilities() -> None:
    logits: Array = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    plain = Sampling(temperature=1.0, top_p=1.0, top_k=0)
    counts = Counter(choose_token(logits, plain, (i + 0.5) / 1000)[0] for i in range(1000))
    assert [counts[i] for i in range(3)] == [500, 300, 200]


def test_the_weak_model_alone_solves_some_problems() -> None:
    async def scenario() -> float:
        generator = EmbeddedGenerator("weak", Role.WEAK)
        router = Router(generator, generator, None, AlwaysWeak())
        questions = FAMILY.problems(900_125, 100)
        traces = await asyncio.gather(*(router.route(question) for question in questions))
        await generator.aclose()
        return float(np.mean([FAMILY.right(FAMILY.answer(trace.text), trace.question) for trace in traces]))

    assert 0.15 < asyncio.run(scenario()) < 0.6


def test_earlier_messages_are_read_as_turns_and_sampling_can_be_chosen() -> None:
    tokens = Tokens(shipped("weak"))
    said = (Message("system", "Be brief."), Message("user", "1 + 1?"), Message("assistant", "One.\n\n#### 2<|end|>"))
    (prompt,) = tokens.pieces(Question("2 + 2?", messages=said), (), tokens.blank)
    turns = [i for i, token in enumerate(prompt) if token in (tokens.user, tokens.assistant)]
    assert [prompt[i] == tokens.user for i in turns] == [True, False, True, False]
    assert prompt.count(tokens.end) == 1
    assert prompt.count(tokens.blank) == 1

    async def texts(sampling: Sampling, seeds: int) -> set[str]:
        weak = EmbeddedGenerator("weak", Role.WEAK)
        try:
            chosen, found = weak.sampled(sampling), set()
            for seed in range(seeds):
                found.add(await anext(aiter(chosen.steps(QUESTIONS[1], (), StepOptions(limit=1, seed=seed)))))
            return {step.text for step in found}
        finally:
            await weak.aclose()

    assert len(asyncio.run(texts(Sampling(temperature=0.0), 4))) == 1
    assert len(asyncio.run(texts(Sampling(temperature=2.0, top_p=1.0, top_k=0), 4))) > 1


def test_it_conforms_and_counts_what_it_writes() -> None:
    async def scenario() -> None:
        generator = EmbeddedGenerator("weak", Role.WEAK)
        await check_generator(generator, QUESTIONS[0])
        before = copy.copy(generator.usage)
        steps = await pull(generator, (), StepOptions())
        assert generator.usage.calls == before.calls + 1
        assert generator.usage.completion_tokens - before.completion_tokens == sum(step.tokens for step in steps)
        assert generator.usage.prompt_tokens - before.prompt_tokens == steps[0].prompt_tokens
        assert generator.sampled(Sampling(0.0)).usage is generator.usage
        await generator.aclose()

    asyncio.run(scenario())
