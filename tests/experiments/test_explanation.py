"""Why a policy keeps or rewrites a draft: what it is told, and figures that agree with the policy's own."""

from __future__ import annotations

import json

import pytest

from tests.pomdp.instances import small
from trim.errors import ConfigError
from trim.experiments.explanation import Situation, explain
from trim.policies.pomdp import PomdpPolicy
from trim.types import Action

POLICY = PomdpPolicy(small(), 0.004)


def test_a_situation_is_what_the_policy_observes() -> None:
    seen = Situation((0.9, 0.2, 0.4), 30, regenerated=(1,), earlier_scores=(0.1,), final=True).observation()
    assert seen.actions == (Action.CONTINUE, Action.REGENERATE)
    assert seen.tokens == (30, 30, 30)
    assert (seen.final, seen.drafts) == (True, 2)
    assert seen.draft_scores == ((0.9,), (), (0.1, 0.4))


def test_the_decision_follows_from_gain_and_cost_and_flips_at_the_price() -> None:
    situation = Situation((0.9, 0.2), 10)
    found = explain(POLICY, situation)
    assert found.cost == pytest.approx(0.04)
    assert (found.action is Action.REGENERATE) is (found.gain > found.cost)
    assert found.flip_price is not None
    for factor, action in ((0.99, Action.REGENERATE), (1.01, Action.CONTINUE)):
        assert explain(POLICY.at(found.flip_price * factor), situation).action is action


def test_json_has_the_belief_by_state() -> None:
    found = explain(POLICY, Situation((0.9, 0.2), 10))
    values = json.loads(json.dumps(found.to_json()))
    assert list(values) == ["belief", "gain", "price", "cost", "action", "flip_price"]
    assert values["belief"] == found.belief._asdict()
    assert values["action"] == found.action.value


def test_impossible_situations_are_refused() -> None:
    with pytest.raises(ConfigError, match="--tokens must be at least 1"):
        Situation((0.5,), 0)
    with pytest.raises(ConfigError, match="names steps before step 1"):
        Situation((0.5, 0.5), 10, regenerated=(1,))
