"""Traces of simulated models whose errors are coupled, so that a fit has a known truth."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trim.protocols import Policy
from trim.router import Router
from trim.simulate import SimulatedModel, SimulatedPrm, is_right, solution_length
from trim.types import Decision, Price, Prices, Question, Role, Step, StepOptions, Trace

WEAK, AFTER_RIGHT, AFTER_WRONG, LONGEST = 0.8, 0.98, 0.5, 8
STRONG = WEAK * AFTER_RIGHT + (1 - WEAK) * AFTER_WRONG
HAZARD = tuple(1 / (LONGEST - t) for t in range(1, LONGEST))  # lengths are uniform on 1 to LONGEST

PRICES = Prices(weak=Price(0, 1), strong=Price(0, 20))


@dataclass(frozen=True)
class Coupled(SimulatedModel):
    """A strong model that errs more often where the weak one errs."""

    def write(self, question: Question, index: int, options: StepOptions, *, right_so_far: bool) -> Step:
        draft = SimulatedModel(Role.WEAK, WEAK, LONGEST).write(question, index, options, right_so_far=True)
        accuracy = AFTER_RIGHT if is_right((draft.text,)) else AFTER_WRONG
        model = SimulatedModel(Role.STRONG, accuracy, LONGEST)
        return model.write(question, index, options, right_so_far=right_so_far)


def rule(question: Question, steps: Sequence[str]) -> tuple[bool, ...]:
    """Which steps of a simulated solution are right."""
    return tuple(is_right(tuple(steps[: n + 1])) for n in range(len(steps)))


def record(policy: Policy, count: int, *, prm: float = 0.9) -> list[Trace]:
    """Traces of a policy on `count` questions, always the same ones."""
    weak, strong = SimulatedModel(Role.WEAK, WEAK, LONGEST), Coupled(Role.STRONG, 0.0, LONGEST)
    router = Router(weak, strong, SimulatedPrm(prm), policy, prices=PRICES)

    async def traces() -> list[Trace]:
        found = [await router.route(Question(f"question {i}", "right", f"q{i}")) for i in range(count)]
        return [replace(trace, correct=is_right(tuple(s.text for s in trace.steps))) for trace in found]

    return asyncio.run(traces())


def as_chain(trace: Trace) -> Trace:
    """The same trace, told as one of arithmetic_chain: right steps are those of a reference solution."""
    length = solution_length(trace.question, LONGEST)
    reference = tuple(f"line {n + 1}" if n + 1 < length else "#### right" for n in range(length))

    def told(step: Step, position: int) -> Step:
        wrong = "#### wrong" if position + 1 == length else f"line {position + 1} (slip)"
        return replace(step, text=reference[position] if is_right((step.text,)) else wrong)

    def decided(decision: Decision, position: int) -> Decision:
        rejected = tuple(replace(draft, step=told(draft.step, position)) for draft in decision.rejected)
        return replace(decision, step=told(decision.step, position), rejected=rejected)

    decisions = tuple(decided(decision, n) for n, decision in enumerate(trace.decisions))
    return replace(trace, question=replace(trace.question, reference_steps=reference), decisions=decisions)
