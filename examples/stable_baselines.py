"""TRIM's routing problem in stable-baselines3: its PPO on the simulated pair, next to the threshold policy.

    pip install '.[train]' stable-baselines3        # from the root of a clone
    python examples/stable_baselines.py

Prints the mean reward, correct - price * strong tokens, of what it learned and of a threshold on the same questions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from trim.policies.learned.features import Vector
from trim.policies.learned.policy import PAPER_ACTIONS
from trim.training.env import RoutingEnv
from trim.training.simulated_source import price_range, simulated, textbook

PRICES = price_range(60)


def environment() -> RoutingEnv:
    """A fresh one; each has its own thread."""
    source = simulated(textbook(), PAPER_ACTIONS, questions=20_000, validation=1, seed=0)
    return RoutingEnv(source, PRICES)


def value(act: Callable[[Vector], int], episodes: int) -> float:
    """Mean reward on questions that the training did not see."""
    source = simulated(textbook(), PAPER_ACTIONS, questions=episodes, validation=1, seed=1)
    env, total = RoutingEnv(source, PRICES), 0.0
    for episode, question in enumerate(source.questions):
        price = PRICES.at(episode / (episodes - 1))
        seen, _ = env.reset(seed=episode, options={"question": question, "price": price})
        ended = False
        while not ended:
            seen, reward, ended, _, _ = env.step(np.int64(act(seen)))
            total += reward
    env.close()
    return total / episodes


def main() -> None:
    """Learn, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=200_000)
    parser.add_argument("--episodes", type=int, default=2_000, help="to judge by")
    args = parser.parse_args()
    envs = make_vec_env(environment, n_envs=8)
    learner = PPO("MlpPolicy", envs, gamma=1.0, n_steps=256, batch_size=512, learning_rate=1e-3, verbose=1)
    learner.learn(args.decisions)
    envs.close()
    learned = value(lambda seen: int(learner.predict(seen, deterministic=True)[0]), args.episodes)
    print(f"learned        {learned:.3f}")
    for threshold in (0.0, 0.3, 0.5):
        print(f"threshold {threshold:3.1f}  {value(lambda seen: int(seen[0] < threshold), args.episodes):.3f}")  # noqa: B023


if __name__ == "__main__":
    main()
