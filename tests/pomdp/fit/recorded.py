"""Traces of simulated models whose errors are coupled, so that a fit has a known truth."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from trim.pomdp.fit.estimation import PomdpFit, fit
from trim.pomdp.fit.labels import label_by_rule
from trim.protocols import Policy
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm, even_lengths, is_right
from trim.stats import Estimate
from trim.steps import StepFormat
from trim.types import Decision, Price, Prices, Question, Role, Step, Trace

WEAK, AFTER_RIGHT, AFTER_WRONG, LONGEST = 0.8, 0.98, 0.5, 8
STRONG = WEAK * AFTER_RIGHT + (1 - WEAK) * AFTER_WRONG
HAZARD = tuple(1 / (LONGEST - t) for t in range(1, LONGEST))  # lengths are uniform on 1 to LONGEST

ENDS = StepFormat().has_answer
PRICES = Prices(weak=Price(0, 1), strong=Price(0, 20), prm=Price(0))


WEAK_MODEL = SimulatedModel(Role.WEAK, WEAK, even_lengths(LONGEST))
# Errors where the draft was wrong, between those of independent errors (0) and those of wholly shared ones (1).
COUPLING = (STRONG - AFTER_WRONG) / ((1 - STRONG) / (1 - WEAK) - (1 - STRONG))
STRONG_MODEL = replace(WEAK_MODEL, role=Role.STRONG, accuracy=STRONG, drafter=WEAK_MODEL, coupling=COUPLING)


def rule(question: Question, steps: Sequence[str]) -> tuple[bool, ...]:
    """Which steps of a simulated solution are right."""
    return tuple(is_right(tuple(steps[: n + 1])) for n in range(len(steps)))


def record(policy: Policy, count: int, *, prm: float = 0.9) -> list[Trace]:
    """Traces of a policy on `count` questions, always the same ones."""
    router = Router(WEAK_MODEL, STRONG_MODEL, SimulatedPrm(prm), policy, prices=PRICES)

    async def traces() -> list[Trace]:
        found = [await router.route(Question(f"question {i}", "right", f"q{i}")) for i in range(count)]
        return [replace(trace, correct=is_right(tuple(s.text for s in trace.steps))) for trace in found]

    return asyncio.run(traces())


def by_rule(traces: list[Trace]) -> PomdpFit:
    """The fit to traces whose labels come from the simulated models' rule."""
    return fit(traces, label_by_rule(rule), ENDS)


def off(estimate: Estimate | None, truth: float) -> float:
    """Distance from the truth in half widths of the interval; within 1 the interval covers it."""
    assert estimate is not None
    half = estimate.high - estimate.value if truth > estimate.value else estimate.value - estimate.low
    return abs(truth - estimate.value) / half


def as_chain(trace: Trace) -> Trace:
    """The same trace, told as one of arithmetic_chain: right steps are those of a reference solution."""
    length = WEAK_MODEL.length(trace.question)
    reference = tuple(f"line {n + 1}" if n + 1 < length else "#### right" for n in range(length))

    def told(step: Step, position: int) -> Step:
        wrong = "#### wrong" if position + 1 == length else f"line {position + 1} (slip)"
        return replace(step, text=reference[position] if is_right((step.text,)) else wrong)

    def decided(decision: Decision, position: int) -> Decision:
        rejected = tuple(replace(draft, step=told(draft.step, position)) for draft in decision.rejected)
        return replace(decision, step=told(decision.step, position), rejected=rejected)

    decisions = tuple(decided(decision, n) for n, decision in enumerate(trace.decisions))
    return replace(trace, question=replace(trace.question, reference_steps=reference), decisions=decisions)
