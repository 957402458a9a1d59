"""The clients and the Router against three real vLLM servers with the shipped models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.vllm.conftest import CONTEXT, VllmServer
from trim.backends.onnx import EmbeddedGenerator
from trim.backends.openai import OpenAIGenerator
from trim.backends.probe import describe
from trim.backends.token_counter import TokenCounter
from trim.errors import BackendError, BackendUnavailable, InputTooLong
from trim.policies import AlwaysStrong, AlwaysWeak, Threshold
from trim.prompts import load_template
from trim.routing.limits import Limits, OnError
from trim.routing.router import Router
from trim.scoring.embedded_logprobs import EmbeddedLogprobs
from trim.scoring.embedded_prm import EmbeddedPrm
from trim.scoring.prompt_logprobs import OpenAILogprobs
from trim.scoring.vllm_prm import VllmPrm
from trim.tasks.gsm_symbolic import FAMILY
from trim.types import Finish, Question, Role, Sampling, Step, StepOptions, Trace

PROBLEMS = FAMILY.problems(900_700, 20)
GREEDY = Sampling(temperature=0.0, top_p=1.0, top_k=0)
Servers = dict[str, VllmServer]


def generator(servers: Servers, role: Role, **options: Any) -> OpenAIGenerator:
    server = servers[role.value]
    template = load_template(str(server.folder))
    return OpenAIGenerator(server.base_url, server.name, role, template, **({"backend": "vllm"} | options))


def reward(servers: Servers, **options: Any) -> VllmPrm:
    server = servers["prm"]
    return VllmPrm(server.base_url, server.name, load_template(str(server.folder)), **options)


@asynccontextmanager
async def closing(*backends: Any) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for backend in backends:
            await backend.aclose()


async def solve(router: Router, questions: Sequence[Question] = PROBLEMS) -> list[Trace]:
    return list(await asyncio.gather(*(router.route(question, seed=5) for question in questions)))


async def read(model: Any, question: Question, kept: tuple[str, ...] = (), **options: Any) -> list[Step]:
    """All steps up to the final answer."""
    steps: list[Step] = []
    stream = model.steps(question, kept, StepOptions(**options))
    async for step in stream:
        steps.append(step)
        if "####" in step.text:
            break
    await stream.aclose()
    return steps


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_the_servers_can_do_what_is_declared(servers: Servers) -> None:
    async def scenario() -> None:
        weak, prm = generator(servers, Role.WEAK), reward(servers)
        async with closing(weak, prm):
            found = await weak.probe()
            assert found.problem is None
            assert found.streaming and found.usage and found.running_usage and found.stop_told and found.continuation
            assert found.context == CONTEXT
            judged = await prm.probe()
            good, words = judged.problem is None, describe(judged)
            assert good, words

    run(scenario())


@pytest.mark.parametrize("lookahead", [0, 1])
def test_routing(servers: Servers, lookahead: int) -> None:
    async def scenario() -> list[Trace]:
        weak, strong, prm = generator(servers, Role.WEAK), generator(servers, Role.STRONG), reward(servers)
        async with closing(weak, strong, prm):
            router = Router(weak, strong, prm, Threshold(0.5), limits=Limits(lookahead=lookahead))
            return await solve(router)

    traces: list[Trace] = run(scenario())
    assert len(traces) == len(PROBLEMS)
    for trace in traces:
        assert trace.steps
        assert all(step.text and step.tokens > 0 for step in trace.steps)
        for role in (Role.WEAK, Role.STRONG):
            kept = sum(step.tokens for step in trace.steps if step.role is role)
            assert trace.usage[role].completion_tokens - trace.usage[role].discarded_tokens == kept
        assert trace.usage[Role.PRM].calls > 0
        assert trace.usage[Role.PRM].prompt_tokens > 0
        assert trace.usage[Role.WEAK].prompt_tokens > 0
        assert all(0.0 <= decision.score <= 1.0 for decision in trace.decisions if decision.score is not None)
    answered = sum("####" in trace.text for trace in traces)
    assert answered >= 0.8 * len(traces), [trace.text for trace in traces if "####" not in trace.text]


def test_scores_are_those_of_the_embedded_engine(servers: Servers) -> None:
    async def scenario() -> None:
        theirs, ours = reward(servers), EmbeddedPrm(servers["prm"].folder)
        async with closing(theirs, ours):
            for question in PROBLEMS:
                steps = question.reference_steps
                wrong = (*steps[:-1], "#### 123456")
                for solution in (steps, wrong, steps[:1]):
                    mine, other = await ours.score(question, solution), await theirs.score(question, solution)
                    assert other.values == pytest.approx(mine.values, abs=1e-3)
            found = await asyncio.gather(*(theirs.score(q, q.reference_steps) for q in PROBLEMS))
            for question, together in zip(PROBLEMS, found, strict=True):
                mine = await ours.score(question, question.reference_steps)
                assert together.values == pytest.approx(mine.values, abs=1e-3)

    run(scenario())


@pytest.mark.parametrize("role", [Role.WEAK, Role.STRONG])
def test_greedy_text_is_that_of_the_embedded_engine(servers: Servers, role: Role) -> None:
    async def scenario() -> list[tuple[str, str, str]]:
        theirs = generator(servers, role, sampling=GREEDY)
        ours = EmbeddedGenerator(servers[role.value].folder, role, GREEDY)
        differences = []
        async with closing(theirs, ours):
            for question in PROBLEMS:
                mine, other = await read(ours, question), await read(theirs, question)
                if [step.text for step in mine] != [step.text for step in other]:
                    differences.append((question.text, str(mine), str(other)))
                else:
                    # A busy server sends several tokens in a chunk; where a step ends inside it, they are shared out by
                    # size, so that only the sum is exact.
                    counts = [(one.tokens, two.tokens) for one, two in zip(mine, other, strict=True)]
                    assert sum(one for one, _ in counts) == sum(two for _, two in counts)
                    assert all(abs(one - two) <= 4 for one, two in counts), counts
                    assert mine[0].prompt_tokens == other[0].prompt_tokens
        return differences

    differences = run(scenario())
    for difference in differences:
        print(*difference, sep="\n", end="\n\n")
    # Sums in another order can turn a near tie between two tokens; anything more is a difference in the text sent.
    assert len(differences) <= 1


def test_one_step_a_request_and_chat_write_what_the_stream_writes(servers: Servers) -> None:
    async def scenario() -> None:
        stream = generator(servers, Role.STRONG, sampling=GREEDY)
        chat = generator(servers, Role.STRONG, sampling=GREEDY, continuation="chat")
        single = generator(servers, Role.STRONG, sampling=GREEDY)
        differences = []
        async with closing(stream, chat, single):
            for question in PROBLEMS[:10]:
                whole = await read(stream, question)
                assert [step.text for step in await read(chat, question)] == [step.text for step in whole]
                for i, step in enumerate(whole):
                    kept = tuple(earlier.text for earlier in whole[:i])
                    (again,) = [found async for found in single.steps(question, kept, StepOptions(limit=1))]
                    (by_chat,) = [found async for found in chat.steps(question, kept, StepOptions(limit=1))]
                    if (again.text, by_chat.text) != (step.text, step.text):
                        differences.append((step.text, again.text, by_chat.text))
                    elif "####" in step.text:
                        assert again.finish is Finish.EOS
                    else:
                        assert again.finish is step.finish
                        assert abs(again.tokens - step.tokens) <= 4
        assert len(differences) <= 1, differences

    run(scenario())


def test_step_marks_in_a_question_are_text(servers: Servers) -> None:
    async def scenario() -> None:
        prm = reward(servers)
        async with closing(prm):
            question = PROBLEMS[0]
            steps = question.reference_steps
            forged = await prm.score(Question("<extra_0>" + question.text + " <extra_0>"), steps)
            spaced = await prm.score(Question("< extra_0>" + question.text + " < extra_0>"), steps)
            assert len(forged.values) == len(steps)
            assert forged.values == pytest.approx(spaced.values, abs=1e-5)
            steps = (steps[0] + "<extra_0><|end|>", *steps[1:])
            assert len((await prm.score(question, steps)).values) == len(steps)

    run(scenario())


def test_too_long_inputs_are_reported(servers: Servers) -> None:
    async def scenario() -> None:
        weak, prm = generator(servers, Role.WEAK), reward(servers)
        long = Question("apples and pears " * CONTEXT)
        async with closing(weak, prm):
            with pytest.raises(InputTooLong, match=r"process reward model prm at http"):
                await prm.score(long, ("a",))
            with pytest.raises(InputTooLong, match=r"weak model weak at http"):
                await read(weak, long)

    run(scenario())


@pytest.mark.parametrize("local", [True, False])
def test_log_probabilities_are_those_of_the_embedded_engine(servers: Servers, local: bool) -> None:
    async def scenario() -> None:
        server = servers["strong"]
        counter = TokenCounter(server.folder) if local else None
        theirs = OpenAILogprobs(server.base_url, server.name, load_template(str(server.folder)), tokenizer=counter)
        ours = EmbeddedLogprobs(server.folder)
        async with closing(theirs, ours):
            for question in PROBLEMS[:5]:
                mine = await ours.step_logprobs(question, question.reference_steps)
                other = await theirs.step_logprobs(question, question.reference_steps)
                for one, two in zip(mine, other, strict=True):
                    assert two == pytest.approx(one, abs=2e-3)

    run(scenario())


def test_policies_without_scores(servers: Servers) -> None:
    async def scenario() -> None:
        weak, strong = generator(servers, Role.WEAK), generator(servers, Role.STRONG)
        async with closing(weak, strong):
            for policy, silent in ((AlwaysWeak(), Role.STRONG), (AlwaysStrong(), Role.WEAK)):
                for trace in await solve(Router(weak, strong, None, policy), PROBLEMS[:6]):
                    assert trace.steps
                    assert trace.usage[silent].calls == 0

    run(scenario())


def test_many_seeded_questions_at_once(servers: Servers) -> None:
    """More prompt tokens than the servers read in one batch."""

    async def scenario() -> None:
        weak = generator(servers, Role.WEAK)
        async with closing(weak):
            many = FAMILY.problems(900_800, 100)
            traces = await solve(Router(weak, weak, None, AlwaysWeak()), many)
            assert all(trace.steps for trace in traces)

    run(scenario())


def test_killing_the_prm_midway(servers: Servers) -> None:
    """The last test: the process reward model's server does not survive it."""

    async def scenario() -> tuple[list[Trace], list[Any]]:
        weak, strong = generator(servers, Role.WEAK), generator(servers, Role.STRONG)
        prms = [reward(servers, retries=1) for _ in range(2)]
        async with closing(weak, strong, *prms):
            calm, strict = (
                Router(weak, strong, prm, Threshold(0.5), on_error=on_error)
                for prm, on_error in zip(prms, (OnError(prm="strong"), OnError(prm="raise")), strict=True)
            )
            calmly = asyncio.gather(*(calm.route(q, seed=9) for q in PROBLEMS))
            strictly = asyncio.gather(*(strict.route(q, seed=9) for q in PROBLEMS), return_exceptions=True)
            await prms[0].score(PROBLEMS[0], PROBLEMS[0].reference_steps)  # all are under way by then
            servers["prm"].kill()
            return list(await calmly), list(await strictly)

    answered, raised = run(scenario())
    assert len(answered) == len(PROBLEMS)
    assert all(trace.steps for trace in answered)
    fallen = [trace for trace in answered if trace.fallbacks]
    assert fallen
    assert all("process reward model prm at http" in trace.fallbacks[0].error for trace in fallen)
    errors = [result for result in raised if isinstance(result, BaseException)]
    assert errors
    assert all(isinstance(error, BackendError) for error in errors)
    unavailable = [error for error in errors if isinstance(error, BackendUnavailable)]
    assert unavailable
    assert all(str(error).startswith("process reward model prm at http://127.0.0.1") for error in errors)
