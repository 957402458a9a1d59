"""Whatever servers say about tokens: costs are never negative, and the usage store agrees with the requests.

`TRIM_FUZZ=10000` runs so many cases.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from contextlib import aclosing, suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends.scripted import BREAK, ScriptedGenerator, chunk
from tests.money import dollars
from tests.server.gateway import PRM, ask, simulated, with_roles
from trim.backends.capabilities import Capabilities
from trim.backends.token_counts import size
from trim.config.settings import PriceSettings
from trim.errors import BackendError
from trim.routing.usage import Ledger
from trim.server.auth import ANONYMOUS
from trim.server.gateway import Gateway
from trim.server.request_parsing import parse
from trim.server.schemas import ChatRequest
from trim.server.usage_store import UsageTotals
from trim.types import Price, Question, Role, Sampling, Usage

CASES = int(os.environ.get("TRIM_FUZZ", "40"))
FUZZ = settings(
    max_examples=CASES,
    deadline=None,
    derandomize=CASES <= 40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
QUESTION = Question("How many apples does Tom have?")
PRICE = Price(2.0, 8.0, 0.25)
PRICES = PriceSettings(PRICE.prompt, PRICE.completion, PRICE.cached)
ABLE = [
    Capabilities(stop="tells", running_usage=True),
    Capabilities(stop="tells"),
    Capabilities(stop="keeps", usage=False),
    Capabilities(),
]

_TEXTS = st.lists(
    st.sampled_from(["one", " two", "3.", "\n\n", "\n", " \n \n", "é", "🙂", "word " * 30, "---", "x = 4", ""]),
    max_size=12,
)
_JUNK = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.lists(st.integers(), max_size=2)
)
_COUNT = st.integers(0, 90) | st.integers(0, 90).map(float) | st.integers(0, 90).map(str) | _JUNK | st.just(10**30)
_USAGE = (
    st.none()
    | _JUNK
    | st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": _COUNT,
            "completion_tokens": _COUNT,
            "total_tokens": _COUNT,
            "prompt_tokens_details": _JUNK | st.fixed_dictionaries({"cached_tokens": _COUNT}),
            "completion_tokens_details": _JUNK | st.fixed_dictionaries({"reasoning_tokens": _COUNT}),
            "prompt_cache_hit_tokens": _COUNT,
            "input_tokens": _COUNT,
            "cache_read_input_tokens": _COUNT,
        },
    )
)


@st.composite
def answers(draw: st.DrawFn) -> list[object]:
    """An answer with any usage in any of its chunks, which may end in any way."""
    events: list[object] = [chunk(text, usage=draw(_USAGE)) for text in draw(_TEXTS)]
    for usage in draw(st.lists(_USAGE, max_size=2)):
        events.insert(draw(st.integers(0, len(events))), chunk(usage=usage))
    end = draw(st.sampled_from(["stop", "stop", "length", "abort", BREAK, None]))
    if end is not None:
        events.append(BREAK if end == BREAK else chunk("", end, draw(_USAGE)))
    return [*events, *(chunk(usage=usage) for usage in draw(st.lists(_USAGE, max_size=2)))]


@st.composite
def counted_answers(draw: st.DrawFn) -> tuple[list[object], Usage]:
    """A whole answer whose last chunk has counts that can be right, and these; before that anything is said."""
    texts = draw(_TEXTS)
    read = size("".join(texts))
    completion = draw(st.integers(max(1, read // 128 + 1), max(1, read) + 8))
    prompt = draw(st.integers(1, 500))
    cached = draw(st.integers(0, prompt))
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    early = st.integers(0, completion).map(lambda n: {"completion_tokens": n}) | _JUNK
    events: list[object] = [chunk(text, usage=draw(early)) for text in texts]
    return [*events, chunk("", "stop"), chunk(usage=usage)], Usage(1, prompt, cached, completion)


def generator(role: Role, able: Capabilities) -> ScriptedGenerator:
    usage = {"prompt_tokens": 30, "completion_tokens": 6}
    return ScriptedGenerator(role, able, [chunk("So it is #### 7"), chunk("", "stop"), chunk(usage=usage)])


def check(usage: Usage) -> None:
    counts = (usage.calls, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.discarded_tokens)
    assert all(type(count) is int and count >= 0 for count in counts)
    assert usage.cached_tokens <= usage.prompt_tokens
    assert usage.discarded_tokens <= usage.completion_tokens
    assert 0 <= dollars(PRICE.of(usage)) < math.inf


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trim.backends.openai.random.uniform", lambda low, high: 0.0)


@FUZZ
@given(counted_answers(), st.sampled_from(ABLE))
def test_a_total_is_exact_where_the_server_gives_it(answer: tuple[list[object], Usage], able: Capabilities) -> None:
    events, expected = answer
    model = generator(Role.WEAK, able)
    model.one_by_one = False
    model.sampling = Sampling(max_step_tokens=100_000)
    model.answers = [events]
    ledger = Ledger()

    async def read() -> list[int]:
        stream = model.steps(QUESTION, ())
        tokens = []
        async for step in stream:
            ledger.read(step)
            tokens.append(step.tokens)
            assert 0 <= step.cached_tokens <= step.prompt_tokens
        assert stream.pending_tokens == 0
        ledger.correct(Role.WEAK, stream.late_counts)
        await stream.aclose()
        return tokens

    tokens = asyncio.run(read())
    assert model.usage == expected
    expected.calls = 0
    assert ledger.usage[Role.WEAK] == expected
    assert all(count >= 0 for count in tokens)
    handed_before_the_end = sum(tokens[:-1])
    assert sum(tokens) == max(expected.completion_tokens, handed_before_the_end)


@FUZZ
@given(
    st.lists(answers(), max_size=4),
    st.lists(answers(), max_size=2),
    st.sampled_from(ABLE),
    st.sampled_from(ABLE),
    st.sampled_from(["trim-weak", "trim-strong", "trim-threshold-0.5", "trim-threshold-30%"]),
    st.integers(0, 8),
)
def test_the_books_agree_with_the_requests(
    weak_answers: list[list[object]],
    strong_answers: list[list[object]],
    weak_able: Capabilities,
    strong_able: Capabilities,
    policy: str,
    most: int,
) -> None:
    """Any usage, any end, a client that leaves after any step."""
    weak, strong = generator(Role.WEAK, weak_able), generator(Role.STRONG, strong_able)
    weak.answers, strong.answers = [*weak_answers], [*strong_answers]
    gateway = Gateway(with_roles(simulated(weak, strong, PRM), weak={"prices": PRICES}, strong={"prices": PRICES}))
    request = parse(json.dumps(ask("hard 7", model=policy, seed=5)).encode(), ChatRequest)
    job = gateway.job(ANONYMOUS, request)
    (answer,) = job.response.answers

    async def serve() -> None:
        await gateway.prepare(job)
        async with aclosing(answer.deltas()) as deltas:
            left = most
            async for _ in deltas:
                assert 0 <= dollars(answer.cost) < math.inf
                left -= 1
                if left == 0:
                    return

    try:
        with suppress(BackendError):
            asyncio.run(serve())
        gateway.settle(job, "ok", 0.1)
        for role, model in ((Role.WEAK, weak), (Role.STRONG, strong)):
            used = answer.ledger.usage[role]
            check(used)
            check(model.usage)
            check(answer.ledger.charged.usage[role])
            assert replace(used, calls=0, discarded_tokens=0) == replace(model.usage, calls=0)
        assert all(decision.step.tokens >= 0 for decision in answer.decisions)
        strong_tokens = answer.ledger.usage[Role.STRONG].completion_tokens
        assert gateway.usage.totals(0) == UsageTotals(dollars(answer.cost), strong_tokens, 1)
        assert f"trim_cost_total {answer.cost}" in gateway.scrape().decode()
        json.dumps([job.response.trim(), job.response.usage(), gateway.summary(ANONYMOUS)], allow_nan=False)
    finally:
        gateway.close()


@pytest.mark.parametrize("able", ABLE)
def test_a_client_gets_the_counts_that_the_server_gives_last(able: Capabilities) -> None:
    weak, strong = generator(Role.WEAK, able), generator(Role.STRONG, able)
    weak.one_by_one = False
    usage = {"prompt_tokens": 77, "completion_tokens": 19, "prompt_tokens_details": {"cached_tokens": 64}}
    weak.answers = [[chunk("It is 3 + 4."), chunk("\n\nThat is 7."), chunk("", "stop"), chunk(usage=usage)]]
    gateway = Gateway(simulated(weak, strong, PRM))
    job = gateway.job(ANONYMOUS, parse(json.dumps(ask(model="trim-weak", seed=1)).encode(), ChatRequest))
    (answer,) = job.response.answers

    async def read() -> None:
        async for _ in answer.deltas():
            pass

    asyncio.run(read())
    gateway.close()
    assert job.response.usage() == {"prompt_tokens": 77, "completion_tokens": 19, "total_tokens": 96}
    used = job.response.trim()["usage"]["weak"]
    assert (used["prompt_tokens"], used["cached_tokens"], used["completion_tokens"]) == (77, 64, 19)
    assert used["estimated"] is False
