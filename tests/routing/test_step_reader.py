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
