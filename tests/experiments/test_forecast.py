"""Forecasts: pairs from descriptions, and what a forecast concludes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pomdp.instances import small
from trim.errors import ConfigError
from trim.experiments.forecast import Pair, Simulation, Skill, conclusion, forecast
from trim.policies.artifacts import Models, Provenance
from trim.policies.pomdp import PomdpPolicy
from trim.types import Prices

PAIR = Pair(Skill(solves=0.4), Skill(step_accuracy=0.97), difficulty=0.0)


def test_a_pair_is_as_good_as_described() -> None:
    world = PAIR.simulation().world
    assert world.weak.solved_alone == pytest.approx(0.4, abs=1e-6)
    assert world.strong.step_accuracy == pytest.approx(0.97)
    assert PAIR.simulation().planner.model.strong_accuracy_if_wrong == pytest.approx(
        1 - 0.03 / (1 - world.weak.step_accuracy)
    )


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (replace(PAIR, weak=Skill()), "how good is the weak model"),
        (replace(PAIR, steps=99), "--steps must lie between 1 and 30"),
        (replace(PAIR, prm_quality=0.2), "accuracy must lie"),
    ],
)
def test_impossible_pairs_are_refused(pair: Pair, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        pair.simulation()


def test_a_fitted_pair_ends_as_its_hazard_says(tmp_path: Path) -> None:
    policy = PomdpPolicy(replace(small((0.1, 0.3, 0.5)), step_tokens=40), 0.01)
    policy.save(tmp_path, Provenance(Models("w", "s", "p"), "t", "2026-11-25", 100))
    simulation = Simulation.of_fit(tmp_path)
    assert simulation.world.weak.ends == (0.0, 0.1, 0.3, 0.5)
    assert simulation.planner.price == 0.01


def test_the_conclusion_names_what_each_policy_needs(tmp_path: Path) -> None:
    run = asyncio.run(forecast(PAIR.simulation(), tmp_path, prices=Prices(), questions=30))
    points = run.operating_points()
    assert all(point.questions == 30 for point in points)
    assert "80% of the way from" in conclusion(points)
    weak, strong = points[:2]
    assert (weak.policy, strong.policy) == ("always-weak", "always-strong")
    assert "nothing to gain" in conclusion([replace(weak, accuracy=0.9), replace(strong, accuracy=0.8)])
    only_ends = conclusion([weak, strong])
    assert "pomdp and threshold and random can't" in only_ends
