"""The base classes for user-defined models and judges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from trim.backends.base import BaseBackend, BaseGenerator, WrappedBackend, step_stream
from trim.errors import ConfigError
from trim.policies import AlwaysWeak
from trim.protocols import LateCounts, Probe
from trim.routing.router import Router
from trim.testing import check_backend, check_generator
from trim.types import Finish, Question, Role, Sampling, Step, StepOptions, Usage

QUESTION = Question("How many?")


class Counting(BaseGenerator):
    """Writes "1", "2", "3" and the answer."""

    closed = 0

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        try:
            budget = options.max_tokens or 100
            for index in range(len(kept), 4)[: options.limit]:
                if budget < 2:
                    return
                budget -= 2
                end = Finish.EOS if index == 3 else Finish.SEPARATOR
                text = "#### 3" if index == 3 else f"{index + 1}\n\n"
                yield Step(text, Role.WEAK, 2, end, prompt_tokens=9 if index == len(kept) else 0)
        finally:
            self.closed += 1


def test_a_generator_of_a_few_lines_takes_part() -> None:
    model = Counting()
    asyncio.run(check_generator(model, QUESTION))
    trace = asyncio.run(Router(model, model, None, AlwaysWeak()).route(QUESTION))
    assert trace.text == "1\n\n2\n\n3\n\n#### 3"


def test_calls_and_tokens_are_counted_and_closing_ends_the_generator() -> None:
    model = Counting()

    async def run() -> None:
        stream = model.steps(QUESTION, ())
        assert model.usage == Usage()  # nothing was asked for yet
        await anext(stream)
        await anext(stream)
        assert (stream.pending_tokens, stream.late_counts) == (0, LateCounts())
        await stream.aclose()

    asyncio.run(run())
    assert model.closed == 1
    assert model.usage == Usage(calls=1, prompt_tokens=9, completion_tokens=4)


def test_what_is_not_said_has_a_sensible_default() -> None:
    model = Counting()
    asyncio.run(check_backend(model))
    assert model.identity == "tests.backends.test_base:Counting"
    assert asyncio.run(model.probe()) == Probe(model.identity, reachable=True)
    with pytest.raises(ConfigError, match="sampling cannot be changed"):
        model.sampled(Sampling(0.0))


def test_a_wrapper_has_identity_probe_and_closing_of_its_model() -> None:
    class Named(BaseBackend):
        identity = "mine"
        closed = False

        async def probe(self, *, quick: bool = False) -> Probe:
            return Probe("there", problem="quick" if quick else "slow")

        async def aclose(self) -> None:
            self.closed = True

    inner = Named()
    outer = WrappedBackend(inner)
    assert outer.identity == "mine"
    assert outer.usage is inner.usage
    assert asyncio.run(outer.probe(quick=True)).problem == "quick"
    asyncio.run(outer.aclose())
    assert inner.closed
