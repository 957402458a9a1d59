"""The Gymnasium environment over the Router."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="needs the train extra")

from gymnasium.utils.env_checker import check_env

from trim.backends.base import BaseBackend
from trim.errors import BackendUnavailable, ConfigError
from trim.policies.learned.features import PriceRange
from trim.routing.router import Router
from trim.simulation.pomdp_world import World
from trim.training.env import RoutingEnv
from trim.training.episodes import Source
from trim.training.simulated_source import simulated, textbook
from trim.types import Action, Question, Scores

PRICES = PriceRange(1e-4, 1e-2)
RESAMPLE = (Action.CONTINUE, Action.REGENERATE, Action.RESAMPLE)
SOURCE = simulated(textbook(), RESAMPLE, questions=50, validation=1, seed=0)


@pytest.fixture
def env() -> Iterator[RoutingEnv]:
    made = RoutingEnv(SOURCE, PRICES, RESAMPLE, weak_price=0.1)
    yield made
    made.close()


def play(env: RoutingEnv, action: int, **options: Any) -> tuple[float, dict[str, Any]]:
    env.reset(seed=3, options=options)
    total = 0.0
    while True:
        _, reward, ended, _, info = env.step(np.int64(action))
        total += reward
        if ended:
            return total, info


def test_gymnasiums_checker_reports_nothing(env: RoutingEnv) -> None:
    check_env(env, skip_render_check=True)


def test_rewards_are_the_answer_less_the_cost() -> None:
    env = RoutingEnv(SOURCE, PRICES)
    kept, info = play(env, 0, price=1e-3)
    assert kept == float(info["correct"])
    assert info["strong_tokens"] == 0
    paid, info = play(env, 1, price=1e-3)
    assert info["strong_tokens"] > 0
    assert paid == pytest.approx(float(info["correct"]) - 1e-3 * info["strong_tokens"])
    env.close()


def test_an_episode_repeats_and_can_be_left(env: RoutingEnv) -> None:
    first, _ = env.reset(seed=5)
    env.step(np.int64(1))
    again, _ = env.reset(seed=5)  # in the middle of an episode
    assert np.array_equal(first, again)
    assert play(env, 2) == play(env, 2)


def test_price_and_question_can_be_given(env: RoutingEnv) -> None:
    seen, info = env.reset(seed=1, options={"price": 1e-2, "question": Question("simulated question 7")})
    assert (seen[-1], info["price"]) == (1.0, 1e-2)
    with pytest.raises(ConfigError, match="trained for prices"):
        env.reset(options={"price": 1.0})


def test_invalid_calls_are_reported(env: RoutingEnv) -> None:
    with pytest.raises(ConfigError, match="reset first"):
        env.step(np.int64(0))
    with pytest.raises(ConfigError, match="CONTINUE"):
        RoutingEnv(SOURCE, PRICES, (Action.RESAMPLE,))


def test_a_models_failure_is_raised_here() -> None:
    class Broken(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            if len(steps) > 1:
                raise BackendUnavailable("prm at nowhere", "no route")
            return Scores((0.5,))

    world = World.of(textbook())
    broken = Source(
        SOURCE.task, SOURCE.questions, (), lambda policy: Router(world.weak, world.strong, Broken(), policy)
    )
    env = RoutingEnv(broken, PRICES)
    with pytest.raises(BackendUnavailable, match="no route"):
        play(env, 0)
    env.close()
