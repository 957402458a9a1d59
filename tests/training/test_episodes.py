"""Episodes: what is explored, what it costs. No torch."""

from __future__ import annotations

import asyncio
from collections import Counter

import numpy as np
import pytest

from tests.policies.learned.networks_made import made_up
from trim.policies.learned.policy import KINDS, Kind, LearnedPolicy
from trim.training.episodes import Episode, Explorer, Source, solve
from trim.training.simulated_source import simulated, textbook
from trim.types import Action, Observation, Role, Trace

PRICE = 1e-3


def source(*, resample: bool = False) -> Source:
    actions = (Action.CONTINUE, Action.REGENERATE, *([Action.RESAMPLE] if resample else []))
    return simulated(textbook(), actions, questions=40, validation=10, seed=0)


def explored(policy: LearnedPolicy, count: int = 20, seed: int = 0) -> list[tuple[Trace, Explorer]]:
    opened = source(resample=Action.RESAMPLE in policy.actions)
    explorers = [Explorer(policy, i / count) for i in range(count)]
    traces = asyncio.run(solve(opened, list(zip(explorers, opened.questions, strict=False)), seed))
    return list(zip(traces, explorers, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resample", [False, True])
@pytest.mark.parametrize("weak_price", [0.0, 0.25])
def test_rewards_add_up_to_the_answer_less_the_cost(kind: Kind, resample: bool, weak_price: float) -> None:
    seen = Counter[bool]()
    for trace, explorer in explored(made_up(kind, resample=resample, seed=3)):
        episode = Episode.of(trace, explorer.transitions, weak_price)
        strong, weak = trace.usage[Role.STRONG].completion_tokens, trace.usage[Role.WEAK].completion_tokens
        wanted = bool(trace.correct) - PRICE * (strong + weak_price * weak)
        assert sum(episode.rewards) == pytest.approx(wanted)
        assert len(episode.rewards) == len(episode.transitions) == sum(len(d.drafts) for d in trace.decisions)
        assert (episode.price, episode.correct, episode.strong_tokens) == (PRICE, trace.correct, strong)
        seen[episode.correct] += 1
    assert min(seen.values()) > 0


def test_a_regenerated_step_is_paid_where_it_was_decided() -> None:
    for trace, explorer in explored(made_up("agg", seed=3)):
        episode = Episode.of(trace, explorer.transitions, 0.0)
        for decision, transition, reward in list(
            zip(trace.decisions, episode.transitions, episode.rewards, strict=True)
        )[:-1]:
            cost = decision.step.tokens if decision.action is Action.REGENERATE else 0
            assert reward == pytest.approx(-PRICE * cost)
            assert (transition.action == 1) is (decision.action is Action.REGENERATE)


def test_actions_are_drawn_with_the_policys_probabilities() -> None:
    policy = made_up("agg", resample=True)
    seen = Observation((0.9, 0.5), (60, 60), (Action.CONTINUE,))
    logits = policy.network(policy.read(seen)).astype(float)
    wanted = np.exp(logits) / np.exp(logits).sum()
    explorer = Explorer(policy, shift=0.3)
    for i in range(1000):
        explorer.act(Observation(seen.scores, seen.tokens, seen.actions, draw=i / 1000))
    found = np.bincount([transition.action for transition in explorer.transitions], minlength=3) / 1000
    assert found == pytest.approx(wanted, abs=2e-3)


def test_episodes_repeat_and_shifts_explore_anew() -> None:
    policy = made_up("agg", seed=3)
    first, again = ([trace.text for trace, _ in explored(policy)] for _ in range(2))
    assert first == again
    opened = source()
    jobs = [(Explorer(policy, i / 8), opened.questions[0]) for i in range(8)]
    assert len({trace.text for trace in asyncio.run(solve(opened, jobs, 0))}) > 1
