"""Drafting ahead of the judge changes only time and discarded tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.routing.models import (
    PRM,
    STRONG,
    WEAK,
    Always,
    FixedPrm,
    Scripted,
    check_accounts,
    run,
    weak,
)
from trim.backends.base import BaseBackend, BaseGenerator, step_stream
from trim.errors import BadResponse
from trim.policies import RandomSteps, Threshold
from trim.protocols import Policy
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.simulation import SimulatedPrm
from trim.types import (
    Action,
    Budget,
    Finish,
    Question,
    Scores,
    Step,
    StepOptions,
)


@given(
    st.text(min_size=1, max_size=5),
    st.integers(0, 2**31),
    st.sampled_from(
        [
            Threshold(0.3),
            Threshold(0.7),
            Threshold(0.6, resamples=2),
            Threshold(0.7, resamples=1, max_revisions=1),
            RandomSteps(0.4),
            Always(Action.RESAMPLE),
        ]
    ),
    st.sampled_from([None, 0, 50, 130]),
)
@settings(deadline=None, max_examples=80)
def test_lookahead_changes_neither_decisions_nor_text(text: str, seed: int, policy: Policy, cap: int | None) -> None:
    traces = [
        run(
            Router(
                WEAK,
                STRONG,
                PRM,
                policy,
                budget=Budget(max_strong_tokens=cap),
                limits=Limits(lookahead=lookahead, max_drafts=3),
            ),
            text,
            seed,
        )
        for lookahead in (0, 1, 2, 5)
    ]
    for trace in traces[1:]:
        assert [replace(d, kept_score=None) for d in trace.decisions] == [
            replace(d, kept_score=None) for d in traces[0].decisions
        ]
        assert trace.text == traces[0].text
        assert trace.stop_reason == traces[0].stop_reason
    for trace in traces:
        check_accounts(trace)


@pytest.mark.parametrize("lookahead", [0, 1, 3])
def test_lookahead_with_slow_models_discards_half_written_steps(lookahead: int) -> None:
    slow_weak = replace(WEAK, accuracy=0.5, token_seconds=0.0001)
    router = Router(
        slow_weak,
        STRONG,
        SimulatedPrm(0.95, seconds=0.002),
        Threshold(0.5),
        limits=Limits(lookahead=lookahead),
    )
    trace = run(router, "long question 7", 3)
    check_accounts(trace)
    assert (
        trace.text
        == run(
            Router(replace(WEAK, accuracy=0.5), STRONG, SimulatedPrm(0.95), Threshold(0.5)), "long question 7", 3
        ).text
    )


def test_several_steps_are_scored_in_one_call() -> None:
    prm = FixedPrm({})
    model = Scripted({0: [weak(str(i)) for i in range(6)]})
    trace = run(Router(model, STRONG, prm, Threshold(0.5), limits=Limits(lookahead=5)))
    assert len(trace.steps) == 6
    assert prm.calls < 6


@pytest.mark.parametrize("values", [(), (0.5, 0.5, 0.5), (1.5,), (float("nan"),)])
def test_a_prm_that_breaks_the_contract_is_an_error(values: tuple[float, ...]) -> None:
    class Wrong(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            return Scores(values)

    model = Scripted({0: [weak("a", Finish.EOS)]})
    with pytest.raises(BadResponse, match="score"):
        run(Router(model, STRONG, Wrong(), Threshold(0.5)))


def test_cancelling_closes_every_stream() -> None:
    closed: list[str] = []

    class Hanging(BaseGenerator):
        @step_stream
        async def steps(
            self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
        ) -> AsyncIterator[Step]:
            try:
                yield weak("a")
                await asyncio.sleep(60)
            finally:
                closed.append("weak")

    class SlowPrm(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            await asyncio.sleep(60)
            return Scores((1.0,) * len(steps))

    async def scenario() -> None:
        task = asyncio.create_task(Router(Hanging(), STRONG, SlowPrm(), Threshold(0.5)).route(Question("q")))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed == ["weak"]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())
