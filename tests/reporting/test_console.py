"""Solutions in the terminal: who wrote what, and what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from rich.console import Console

from tests.pomdp.fit.recorded import record
from trim.policies import Threshold
from trim.reporting.console import _Lines, duration, lines, live, summary
from trim.types import Decision, Fallback, Role, StopReason, Trace

TRACE = next(t for t in record(Threshold(0.5), 20) if any(d.rejected for d in t.decisions))


def test_decisions_are_printed_as_they_fall_and_the_trace_returned() -> None:
    async def items() -> AsyncIterator[Decision | Trace]:
        for decision in TRACE.decisions:
            yield decision
        yield TRACE

    screen = Console(width=120, color_system=None)
    with screen.capture() as captured:
        assert asyncio.run(live(screen, items())) is TRACE
    printed = captured.get()
    assert printed.count("✗") == sum(len(decision.rejected) for decision in TRACE.decisions)
    assert all(decision.step.text in printed for decision in TRACE.decisions)


def test_reasoning_is_marked() -> None:
    screen = Console(width=160, color_system=None)
    with screen.capture() as captured:
        for field in ("content", "reasoning"):
            kept = TRACE.decisions[0]
            screen.print(lines(replace(kept, step=replace(kept.step, field=field))))
    assert captured.get().count("(reasoning)") == 1


def test_line_breaks_of_a_model_are_kept() -> None:
    """Of a list and of a formula; long lines are wrapped under themselves."""
    text = "We need:\n1. The blue fiber.\n2. The white fiber, of which there is half as much.\n\\[ 48 \\]\n\n"
    kept = TRACE.decisions[0]
    screen = Console(width=50, color_system=None)
    with screen.capture() as captured:
        screen.print(lines(replace(kept, rejected=(), step=replace(kept.step, text=text))))
    printed = [line[14:].rstrip() for line in captured.get().splitlines()]
    assert printed == [
        "We need:",
        "1. The blue fiber.",
        "2. The white fiber, of which there",
        "is half as much.",
        "\\[ 48 \\]",
    ]


def test_a_terminal_obeys_nothing_that_a_model_writes() -> None:
    kept = TRACE.decisions[0]
    screen = Console(width=50, color_system=None)
    with screen.capture() as captured:
        screen.print(lines(replace(kept, rejected=(), step=replace(kept.step, text="a\rb\x07\x08\tc"))))
    assert captured.get().split()[-2:] == ["ab", "c"]


def test_a_cost_is_known_or_said_to_be_unknown() -> None:
    assert "discarded), cost $0.00123, " in summary(replace(TRACE, cost=0.001234)).plain
    text = summary(replace(TRACE, cost=None), "[weak.prices] prompt").plain
    assert "cost unknown: [weak.prices] prompt is not set" in text
    assert "cost unknown: a price is not set" in summary(replace(TRACE, cost=None)).plain
    assert max(map(len, text.splitlines())) < 80


def test_a_forced_step_says_so() -> None:
    screen = Console(width=160, color_system=None)
    with screen.capture() as captured:
        screen.print(lines(replace(TRACE.decisions[0], forced=True)))
    assert "overruled the policy" in captured.get()


@pytest.mark.parametrize(("correct", "words"), [(True, "✓ right"), (False, "✗ wrong"), (None, "strong")])
def test_the_summary_says_whether_the_answer_is_right(correct: bool | None, words: str) -> None:
    text = summary(replace(TRACE, answer="42", correct=correct)).plain
    assert text.startswith("answer 42")
    assert words in text
    assert ("✓" in text or "✗" in text) is (correct is not None)


def test_the_summary_names_failures_and_limits() -> None:
    fallback = Fallback(Role.PRM, 1, "refused", Role.STRONG)
    text = summary(replace(TRACE, fallbacks=(fallback,), stop_reason=StopReason.STEP_LIMIT)).plain
    assert "prm failed, fallback to strong: refused" in text
    assert text.endswith("stopped: step limit")


def test_estimated_counts_are_marked() -> None:
    assert "~" not in summary(TRACE).plain
    strong = replace(TRACE.usage[Role.STRONG], completion_tokens=7, estimated=True)
    text = summary(replace(TRACE, usage=TRACE.usage | {Role.STRONG: strong})).plain
    assert "~7 strong and" in text
    assert "~ some token counts are estimates" in text


def test_what_is_no_terminal_gets_lines_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = _Lines(100, lambda: now[0])
    for _ in range(20):
        lines("there before")
    for _ in range(40):
        now[0] += 1.0
        lines("threshold 0.5")
    printed = capsys.readouterr().err.splitlines()
    assert printed == [
        "trim: 25 of 100 done (threshold 0.5), about 75 s left",
        "trim: 55 of 100 done (threshold 0.5), about 45 s left",
    ]


def test_times_have_the_unit_that_fits() -> None:
    assert [duration(s) for s in (0.4, 99, 700, 9000)] == ["0 s", "99 s", "12 min", "2.5 h"]
