"""The simulated pair of a model behaves as the model says."""

from __future__ import annotations

import asyncio

import pytest

from trim.policies import AlwaysStrong, AlwaysWeak
from trim.protocols import Policy
from trim.routing.router import Router
from trim.simulation import is_right
from trim.simulation.pomdp_world import World
from trim.training.simulated_source import textbook
from trim.types import Question

QUESTIONS = [Question(f"question {i}") for i in range(1500)]


def solved(world: World, policy: Policy) -> float:
    router = Router(world.weak, world.strong, world.prm, policy)

    async def run() -> float:
        traces = await asyncio.gather(*(router.route(question) for question in QUESTIONS))
        return sum(is_right(tuple(step.text for step in trace.steps)) for trace in traces) / len(traces)

    return asyncio.run(run())


def test_each_model_alone_solves_what_its_accuracy_says() -> None:
    model = textbook()
    world = World.of(model)
    assert world.weak.accuracies == pytest.approx((model.weak_accuracy,) * len(world.weak.ends))
    assert solved(world, AlwaysWeak()) == pytest.approx(world.weak.solved_alone, abs=0.04)
    assert solved(world, AlwaysStrong()) == pytest.approx(world.strong.solved_alone, abs=0.04)


def test_no_solution_has_a_single_step_where_only_the_hazard_is_known() -> None:
    world = World.of(textbook())
    assert world.weak.ends[0] == 0.0
    assert min(world.weak.length(question) for question in QUESTIONS) >= 2
    assert World.of(textbook(), ends=(0.5, 1.0)).weak.ends == (0.5, 1.0)


def test_repairs_are_those_of_the_model() -> None:
    model = textbook()
    on_wrong, on_right = World.of(model).strong.repair[0]
    assert on_wrong == pytest.approx(model.strong_accuracy_if_wrong, abs=0.02)
    assert on_right == pytest.approx(model.strong_accuracy_if_correct, abs=0.02)
