"""What is behind the operating points: sums by hand."""

from __future__ import annotations

import pytest

from tests.pomdp.fit.recorded import record, rule
from trim.metrics.breakdown import KINDS, break_down
from trim.policies import AlwaysWeak, Threshold
from trim.types import Role


def test_the_breakdown_adds_up() -> None:
    traces = record(Threshold(0.5), 80)
    inside = break_down(traces, {("threshold", 0.5)}, rule)
    breakdown = inside.points["threshold", 0.5]
    assert breakdown.solutions == 80
    written = sum(t.usage[role].completion_tokens for t in traces for role in (Role.WEAK, Role.STRONG))
    assert sum(breakdown.tokens[kind] for kind in KINDS[:4]) == written
    assert sum(breakdown.steps) == sum(len(t.steps) for t in traces)
    assert sum(breakdown.strong_steps) == sum(step.role is Role.STRONG for t in traces for step in t.steps)
    assert breakdown.steps[0] == 80


def test_calibration_is_of_drafts_behind_right_steps() -> None:
    """The simulated PRM of accuracy 0.9 scores right drafts high: counted once more by hand."""
    traces = record(AlwaysWeak(uses_scores=True), 200)
    bins = break_down(traces, {("always-weak", None)}, rule).calibration
    wanted = [0, 0]
    for trace in traces:
        for index, decision in enumerate(trace.decisions):
            right = rule(trace.question, [step.text for step in trace.steps[: index + 1]])[-1]
            wanted[0] += 1
            wanted[1] += right
            assert decision.score is not None
            if not right:
                break
    assert sum(b.count for b in bins) == wanted[0]
    assert sum(b.count * b.right for b in bins) == pytest.approx(wanted[1])
    assert bins[-1].right > 0.9 > 0.5 > bins[0].right
    assert not break_down(traces, {("always-weak", None)}, None).calibration


def test_a_draft_that_several_policies_got_is_counted_once() -> None:
    """The same seeds draw the same drafts at every threshold."""
    traces = [trace for parameter in (0.3, 0.5, 0.7) for trace in record(Threshold(parameter), 60)]
    keys: set[tuple[str, float | None]] = {("threshold", parameter) for parameter in (0.3, 0.5, 0.7)}
    once, thrice = (break_down(some, keys, rule).calibration for some in (traces, traces * 3))
    assert once == thrice
    each = sum(sum(b.count for b in break_down(traces, {key}, rule).calibration) for key in keys)
    assert 60 <= sum(b.count for b in once) < each
