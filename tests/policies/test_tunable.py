"""Members of every policy; the effort of a tunable one moves its strong share from end to end."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.policies.learned.networks_made import made_up
from tests.pomdp.instances import small
from trim.baselines.step_level.confidence import Confidence
from trim.baselines.step_level.glimp_router import GlimpRouter
from trim.baselines.step_level.rsd import RsdClipped, rsd
from trim.baselines.step_level.spec_reason import SpecReason
from trim.baselines.step_level.take_over import TakeOver
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.policies import pomdp as pomdp_policies
from trim.policies.pomdp import PomdpPolicy
from trim.protocols import Policy, Tunable
from trim.types import Action, Observation

TUNABLE: list[Tunable] = [
    RandomSteps(0.5),
    Threshold(0.5),
    PomdpPolicy(small(), 0.01),
    made_up("agg"),
    rsd(),
    TakeOver(0.5),
    SpecReason(),
    Confidence(0.9),
    GlimpRouter(0.1),
]
FIXED: list[Policy] = [AlwaysWeak(), AlwaysStrong(), RsdClipped()]
SCORES = [index / 99 for index in range(100)]


def observation(index: int) -> Observation:
    """The worse the higher the index is, by whatever a policy looks at."""
    worse = index / 100
    return Observation(
        (1 - worse,),
        (20,),
        draw=worse * 0.99,
        logprob=-0.3 * worse - 1e-6,
        entropy=2 * worse,
        draft_scores=((1 - worse,),),
    )


@pytest.mark.parametrize("policy", TUNABLE, ids=lambda policy: policy.name)
def test_more_effort_asks_the_strong_model_more(policy: Tunable) -> None:
    assert isinstance(policy, Tunable)
    asked = []
    for effort in (0.0, 0.25, 0.5, 0.75, 1.0):
        tuned = policy.at_effort(effort, SCORES)
        actions = [tuned.act(observation(index)) if tuned.uses_drafts else Action.TAKE_OVER for index in range(100)]
        asked.append(sum(action is not Action.CONTINUE for action in actions))
    if policy.name == "agg":  # a network that was not trained: its share is whatever it is, its prices are in range
        assert policy.at_effort(0.0, SCORES).parameter == pytest.approx(policy.trained.high)  # type: ignore[attr-defined]
        assert policy.at_effort(1.0, SCORES).parameter == pytest.approx(policy.trained.low)  # type: ignore[attr-defined]
        return
    assert asked == sorted(asked)
    assert asked[0] <= 5
    assert asked[-1] >= 90 or policy.name == "pomdp"
    assert asked[-1] - asked[0] >= 20


@pytest.mark.parametrize("policy", TUNABLE, ids=lambda policy: policy.name)
def test_at_moves_the_parameter_and_nothing_else(policy: Tunable) -> None:
    parameter = policy.at_effort(0.5, SCORES).parameter
    assert parameter is not None
    moved = policy.at(parameter)
    assert (moved.parameter, moved.name, moved.max_revisions) == (parameter, policy.name, policy.max_revisions)


def test_few_scores_say_nothing() -> None:
    assert Threshold(0.7).at_effort(0.2, SCORES[:19]) == Threshold(0.5)


@pytest.mark.parametrize("policy", FIXED, ids=lambda policy: policy.name)
def test_a_policy_without_a_parameter_is_not_tunable(policy: Policy) -> None:
    assert not isinstance(policy, Tunable)
    assert policy.parameter is None


def test_a_base_gives_defaults() -> None:
    @dataclass(frozen=True)
    class Mine(Policy):
        name: str = "mine"

        def act(self, observation: Observation) -> Action:
            return Action.CONTINUE

    mine = Mine()
    mine.prepare()
    assert (mine.parameter, mine.uses_drafts, mine.uses_scores, mine.max_revisions) == (None, True, True, 0)


def test_a_prepared_policy_decides_without_solving(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = PomdpPolicy(small(), 0.0123)
    policy.prepare()
    monkeypatch.setattr(pomdp_policies, "solve", None)
    assert policy.act(observation(90)) in Action
