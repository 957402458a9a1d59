"""No call goes out that the limit does not cover, whatever the models write."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from tests.backends.scripted import Json, ScriptedGenerator, chunk
from trim.backends.base import BaseBackend, BaseGenerator, step_stream
from trim.backends.capabilities import capabilities
from trim.backends.response_stream import Answer
from trim.config.resolution import resolve
from trim.config.settings import BudgetSettings, Config, GenerationSettings, ModelSettings, PriceSettings, PrmSettings
from trim.config.specs import RunSpec
from trim.errors import SpendReached
from trim.experiments.metered_models import metered_generator, metered_judge
from trim.experiments.spend_limit import SpendLimit
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Judge, Policy, StepGenerator
from trim.routing.router import Router
from trim.types import Finish, Question, Role, Scores, Step, StepOptions, Trace

CASES = range(int(os.environ.get("TRIM_FUZZ", "40")))
MOST = 200  # tokens of a step at most


def spec_of(lookahead: int = 1) -> RunSpec:
    return resolve(
        Config(
            weak=ModelSettings(prices=PriceSettings(1.0, 2.0)),
            strong=ModelSettings(prices=PriceSettings(5.0, 20.0)),
            prm=PrmSettings(prices=PriceSettings(0.5)),
            generation=GenerationSettings(max_step_tokens=MOST, lookahead=lookahead),
            budget=BudgetSettings(),
        )
    )


def tokens_of(text: str, index: int, *rest: object) -> int:
    """Of a step: few as a rule, now and then as many as may be."""
    rng = random.Random(f"{text} {index} {rest}")
    return min(MOST, max(1, int(rng.lognormvariate(2.0, 1.6))))


@dataclass
class Varied(BaseGenerator):
    """Writes steps of very different lengths; reads a prompt of a token for each byte."""

    role: Role

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        left, end = options.max_tokens, random.Random(question.text).randrange(1, 12)
        written = 0
        while len(kept) < end and written != options.limit and left != 0:
            await asyncio.sleep(0)
            tokens = tokens_of(question.text, len(kept), self.role, options.attempt)
            cut = left is not None and tokens > left
            tokens = left if cut and left is not None else tokens
            left = None if left is None else left - tokens
            text = "x" * 3 + "\n\n" * (not cut)
            finish = Finish.LENGTH if cut else Finish.EOS if len(kept) + 1 == end else Finish.SEPARATOR
            prompt = 0 if written else len(question.text) + sum(map(len, kept))
            yield Step(text, self.role, tokens, finish, prompt_tokens=prompt)
            if cut:
                return
            kept, written = (*kept, text), written + 1


class Served(ScriptedGenerator):
    """The same behind a server that counts as it writes, in answers that end where `max_tokens` says."""

    def __init__(self, role: Role) -> None:
        super().__init__(role, capabilities("vllm"), [])
        self.sampling = spec_of().sampling
        self.read = 0

    async def send(self, body: Json) -> Answer:
        self.usage.calls += 1
        return Answer(self.server, self._events(body))

    async def _events(self, body: Json) -> AsyncIterator[Json]:
        prompt, written = len(body["prompt"]), 0
        index = body["prompt"].count("\n\n")
        while True:
            tokens = tokens_of(body["prompt"][:40], index, self.role)
            for number in range(tokens):
                written += 1
                usage = {"prompt_tokens": prompt, "completion_tokens": written}
                last = number == tokens - 1
                if written == body["max_tokens"]:
                    yield chunk(" x", "length", usage)
                    return
                if last and index >= 11:
                    yield chunk(" x", "stop", usage)
                    return
                yield chunk(" x\n\n" if last else " x", None, usage)
                await asyncio.sleep(0)
            index += 1


@dataclass
class Judging(BaseBackend):
    """Reads a token for each byte."""

    seen: list[float] = field(default_factory=list)

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        await asyncio.sleep(0)
        read = len(question.text) + sum(map(len, steps))
        self.usage.prompt_tokens += read
        scores = tuple(random.Random(f"{question.text} {index}").random() for index in range(len(steps)))
        return Scores(scores, read)


@asynccontextmanager
async def unlimited() -> AsyncIterator[list[float]]:
    with suppress(SpendReached):
        yield []


async def run(
    models: tuple[StepGenerator, StepGenerator, Judge],
    policy: Policy,
    limit: SpendLimit,
    spec: RunSpec,
    at_once: int,
    *,
    all_begin: bool = False,
) -> list[Trace]:
    """Solve questions until the limit is reached; `all_begin`: also those that may be broken off."""
    weak = metered_generator(models[0], Role.WEAK, spec, limit)
    strong = metered_generator(models[1], Role.STRONG, spec, limit)
    prm = metered_judge(models[2], spec.prices.prm, spec, limit)
    router = Router(weak, strong, prm, policy, prices=spec.prices, limits=spec.limits)
    waiting, traces = iter(range(40)), []

    async def worker() -> None:
        for index in waiting:
            async with unlimited() if all_begin else limit.solution() as costs:
                if limit.reached:
                    return
                trace = await router.route(Question(f"question {index}" + " and more" * (index % 7)), seed=1)
                costs.append(trace.measured_cost or 0.0)
                traces.append(trace)

    async with asyncio.timeout(20):
        await asyncio.gather(*(worker() for _ in range(at_once)))
    return traces


def cost_of(models: tuple[StepGenerator, StepGenerator, Judge], spec: RunSpec) -> float:
    prices = (spec.prices.weak, spec.prices.strong, spec.prices.prm)
    return sum(price.of(model.usage) or 0.0 for price, model in zip(prices, models, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_a_run_never_exceeds_its_limit(case: int) -> None:
    rng = random.Random(case)
    policy = rng.choice([AlwaysWeak(), AlwaysStrong(), RandomSteps(0.5), Threshold(0.3), Threshold(0.8, resamples=2)])
    spec = spec_of(rng.choice((0, 1, 3)))
    kind = rng.choice((Varied, Varied, Served))
    models = (kind(Role.WEAK), kind(Role.STRONG), Judging())
    dollars = 10 ** rng.uniform(-5.0, -1.5)
    limit = SpendLimit(dollars)
    asyncio.run(run(models, policy, limit, spec, rng.choice((1, 4, 40)), all_begin=rng.random() < 0.5))
    spent = cost_of(models, spec)
    assert spent <= dollars + 1e-12
    assert limit.spent == pytest.approx(spent)
    assert not limit._calls  # all that was held is free again


def test_what_is_solved_under_a_limit_is_what_is_solved_without() -> None:
    spec = spec_of()

    def texts(dollars: float) -> dict[str, str]:
        limit = SpendLimit(dollars)
        found = asyncio.run(run((Varied(Role.WEAK), Varied(Role.STRONG), Judging()), Threshold(0.5), limit, spec, 8))
        return {trace.question.text: trace.text for trace in found}

    whole, part = texts(1000.0), texts(0.05)
    assert len(whole) == 40
    assert 3 < len(part) < 40
    assert part.items() <= whole.items()


def test_the_limit_is_used_up_but_for_a_solution_or_so() -> None:
    spec = spec_of()
    models = (Varied(Role.WEAK), Varied(Role.STRONG), Judging())
    limit = SpendLimit(0.05)
    asyncio.run(run(models, Threshold(0.5), limit, spec, 8))
    assert 0.6 * limit.limit < limit.spent <= limit.limit


def test_a_call_that_cannot_be_paid_for_is_not_made() -> None:
    spec, limit, model = spec_of(), SpendLimit(1e-6), Varied(Role.STRONG)
    stream = metered_generator(model, Role.STRONG, spec, limit).steps(Question("a question"), ())
    with pytest.raises(SpendReached, match=r"stopped by --max-cost 1e-06 at \$0"):
        asyncio.run(anext(stream))
    assert model.usage.calls == 0
    assert limit.reached
