"""Simulated models have the stated accuracy alone, correlate errors as configured, and are reproducible."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trim.errors import ConfigError
from trim.policies import AlwaysStrong, AlwaysWeak
from trim.protocols import Policy
from trim.routing.router import Router
from trim.simulation import (
    SimulatedModel,
    SimulatedPrm,
    constant_accuracy,
    even_lengths,
    gamma_lengths,
    graded,
    stricter,
)
from trim.testing import check_generator, check_judge
from trim.types import Question, Role, StepOptions, Trace

ENDS = gamma_lengths(6)
WEAK = SimulatedModel(Role.WEAK, (0.8, 0.9, 0.95), ENDS, 50, spread=0.5, difficulty=0.8)
STRONG = SimulatedModel(Role.STRONG, 0.97, ENDS, 60, drafter=WEAK, coupling=0.9)
SCORES = stricter(graded(0.85), power=1.3, memory=0.5, doubt=0.05)
QUESTIONS = [Question(f"question {i}") for i in range(800)]


def solve(policy: Policy, weak: SimulatedModel = WEAK, strong: SimulatedModel = STRONG) -> list[Trace]:
    router = Router(weak, strong, None, policy)
    return [asyncio.run(router.route(question, seed=3)) for question in QUESTIONS]


def share(values: Sequence[bool]) -> float:
    return fmean(map(float, values))


def test_they_conform() -> None:
    long = next(q for q in QUESTIONS if len(WEAK.write(q, 4, StepOptions(), right_so_far=True).text) < 40)
    for model in (WEAK, STRONG, replace(STRONG, coupling=0.0, drafter=None)):
        asyncio.run(check_generator(model, long))
    steps = [WEAK.write(long, i, StepOptions(seed=i), right_so_far=i < 2).text for i in range(4)]
    asyncio.run(check_judge(SimulatedPrm(scores=SCORES), long, tuple(steps)))


@pytest.mark.parametrize("policy", [AlwaysWeak(), AlwaysStrong()])
def test_alone_they_solve_what_the_arithmetic_says(policy: Policy) -> None:
    """Difficulty and coupling move errors together; neither changes what a model does alone."""
    model = WEAK if policy.uses_drafts else STRONG
    traces = solve(policy)
    sigma = (model.solved_alone * (1 - model.solved_alone) / len(traces)) ** 0.5
    assert abs(share(["#### right" in t.text for t in traces]) - model.solved_alone) < 3.5 * sigma
    assert fmean(len(t.steps) for t in traces) == pytest.approx(6, abs=0.4)
    assert fmean(step.tokens for t in traces for step in t.steps) == pytest.approx(model.step_tokens, rel=0.05)


def test_errors_are_coupled() -> None:
    """With coupling 1 the strong model is wrong only where the first draft is, and on hard questions more often."""
    strong = replace(STRONG, coupling=1.0)
    pairs = [
        (WEAK.gets_right(q, step, StepOptions()), strong.gets_right(q, step, StepOptions()))
        for q in QUESTIONS
        for step in range(5)
    ]
    assert all(s for w, s in pairs if w)
    repaired = share([s for w, s in pairs if not w])
    assert fmean(q for q, _ in strong.repair[:5]) == pytest.approx(repaired, abs=0.04)
    independent = replace(STRONG, coupling=0.0)
    assert np.allclose(independent.repair, 0.97)


def test_hard_questions_are_hard_in_every_attempt() -> None:
    def twice(difficulty: float) -> float:
        model = replace(WEAK, difficulty=difficulty)
        tries = [[model.gets_right(q, 0, StepOptions(attempt=a)) for a in (0, 1)] for q in QUESTIONS]
        return share([second for first, second in tries if not first])

    assert twice(0.0) == pytest.approx(0.8, abs=0.1)
    assert twice(2.0) < twice(0.0) - 0.15


@given(
    st.lists(st.floats(0.05, 1.0), min_size=1, max_size=8),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.sampled_from([0.0, 0.3, 2.0]),
)
@settings(deadline=None, max_examples=60)
def test_rates_and_repairs_are_probabilities(
    accuracy: list[float], strong: float, coupling: float, difficulty: float
) -> None:
    weak = SimulatedModel(Role.WEAK, tuple(accuracy), even_lengths(8), difficulty=difficulty)
    model = SimulatedModel(Role.STRONG, strong, even_lengths(8), drafter=weak, coupling=coupling)
    assert min(weak.rates) >= -1e-12
    assert all(-1e-9 <= chance <= 1 + 1e-9 for pair in model.repair for chance in pair)
    assert all(wrong <= right + 1e-9 for wrong, right in model.repair)
    assert 0.0 <= weak.solved_alone <= 1.0


def test_step_accuracy_and_constant_accuracy() -> None:
    assert SimulatedModel(Role.WEAK, 0.9, ENDS).step_accuracy == pytest.approx(0.9)
    accuracy = constant_accuracy(0.4, ENDS)
    assert SimulatedModel(Role.WEAK, accuracy, ENDS).solved_alone == pytest.approx(0.4)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        constant_accuracy(1.0, ENDS)


@pytest.mark.parametrize(
    "wrong", [{"accuracy": 1.2}, {"accuracy": ()}, {"ends": (2.0,)}, {"coupling": -1.0}, {"difficulty": -1.0}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="simulated weak model"):
        replace(WEAK, **wrong)  # type: ignore[arg-type]
