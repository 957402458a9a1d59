"""Degenerate steps are requested once more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.routing.models import (
    Scripted,
    check_accounts,
    run,
    weak,
)
from trim.backends.base import BaseGenerator, step_stream
from trim.policies import AlwaysWeak
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.types import (
    Finish,
    Question,
    Role,
    Step,
    StepOptions,
    StopReason,
)


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_a_degenerate_step_is_asked_for_once_more(lookahead: int) -> None:
    trace = run(Router(_ByPrefix(), Scripted({}), None, AlwaysWeak(), limits=Limits(lookahead=lookahead)))
    assert trace.text == "a\n\n---\n\nb\n\n#### 1"
    assert [step.tokens for step in trace.steps] == [5, 10, 5]
    check_accounts(trace)


def test_two_degenerate_steps_in_a_row_stop_the_solution() -> None:
    model = Scripted({0: [weak("a"), weak("---")], 1: [weak("---")], 2: [weak("***")]})
    trace = run(Router(model, Scripted({}), None, AlwaysWeak()))
    assert (trace.stop_reason, trace.text) == (StopReason.DEGENERATE, "a\n\n---\n\n***\n\n")


@pytest.mark.parametrize("lookahead", [0, 1, 2])
@pytest.mark.parametrize("end", [[], [weak("", Finish.EOS)], [weak(" \n", Finish.EOS)]])
def test_a_degenerate_step_that_nothing_follows_is_the_last_one(end: list[Step], lookahead: int) -> None:
    model = Scripted({0: [weak("a"), weak("\N{THUMBS UP SIGN}")], 1: [weak("\N{THUMBS UP SIGN}")], 2: end})
    trace = run(Router(model, Scripted({}), None, AlwaysWeak(), limits=Limits(lookahead=lookahead)))
    assert (trace.stop_reason, len(trace.steps)) == (StopReason.EOS, 2)
    assert trace.text == "a\n\n\N{THUMBS UP SIGN}\n\n" + "".join(step.text for step in end)
    check_accounts(trace)


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_white_space_at_the_end_belongs_to_the_last_step(lookahead: int) -> None:
    model = Scripted(
        {0: [weak("a"), weak("b"), weak("\n \n", Finish.EOS, tokens=2)]}
        | {1: [weak("b"), weak("\n \n", Finish.EOS, tokens=2)], 2: [weak("\n \n", Finish.EOS, tokens=2)]}
    )
    trace = run(Router(model, Scripted({}), None, AlwaysWeak(), limits=Limits(lookahead=lookahead)))
    assert [step.text for step in trace.steps] == ["a\n\n", "b\n\n\n \n"]
    assert [step.tokens for step in trace.steps] == [5, 7]
    assert trace.usage[Role.WEAK].discarded_tokens == 0
    check_accounts(trace)


class _ByPrefix(BaseGenerator):
    """Writes a, ---, b, #### 1 whether its stream is kept open or not."""

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        path, count = kept, 0
        while options.limit is None or count < options.limit:
            count += 1
            if path == ():
                text = "a"
            elif path == ("a\n\n",):
                text = "---"
            elif path == ("a\n\n", "---\n\n"):
                text = "b"
            else:
                yield weak("#### 1", Finish.EOS)
                return
            yield weak(text)
            path = (*path, f"{text}\n\n")
