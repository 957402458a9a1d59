"""Target shares and target spend over drifting traffic, under a clock that the tests set."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import OpenStore
from trim.config.loading import load_config
from trim.errors import ConfigError
from trim.policies import AlwaysWeak, RandomSteps, Threshold
from trim.server.budget_controller import (
    AnswerOutcome,
    ShareController,
    SpendController,
    TargetControllers,
    TargetState,
)
from trim.server.usage_store import UsageStore, UsageTotals

HOUR = 3600.0


START = 480_000 * HOUR  # a day begins


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("policy", ["threshold", "random"])
@pytest.mark.parametrize("target", [0.1, 0.2, 0.5])
def test_a_share_meets_its_target_on_drifting_questions(policy: str, target: float) -> None:
    """The share over 1,000 answers is within two points, although questions get harder and easier again."""
    controller, draw = (
        ShareController(Threshold(0.5) if policy == "threshold" else RandomSteps(0.5), target),
        random.Random(1),
    )
    for index in range(1_000):
        hard = 1.0 + 2.0 * (300 <= index < 700)
        now, strong, tokens, scores = controller.policy(), 0, 0, []
        for _ in range(draw.randint(1, 10)):
            score, size = draw.random() ** hard, draw.randint(10, 60)
            scores.append(score)
            tokens += size
            asked = score < now.threshold if isinstance(now, Threshold) else draw.random() < now.parameter  # type: ignore[operator]
            strong += size * asked
        controller.update(AnswerOutcome(strong, tokens, scores=scores))
    assert controller.state.share == pytest.approx(target, abs=0.02)
    assert controller.state.answers == 1_000


def test_policies_that_cannot_follow_a_target(open_store: OpenStore) -> None:
    controllers = TargetControllers(open_store())
    with pytest.raises(ConfigError, match="no parameter"):
        controllers.get(AlwaysWeak(), 0.2)


def test_many_targets_drop_the_oldest_and_lose_nothing(open_store: OpenStore) -> None:
    controllers, policy = TargetControllers(open_store()), Threshold(0.5)
    controllers.get(policy, 0.5)
    controllers.update(("threshold", 0.5), AnswerOutcome(10, 40))
    before = controllers.get(policy, 0.5).state
    for share in range(200):
        controllers.get(policy, share / 1_000)
    assert len(controllers.items()) == 64
    controllers.update(("threshold", 0.5), AnswerOutcome(10, 40))  # an answer that was under way
    assert controllers.get(policy, 0.5).state == before


def traffic(
    controller: SpendController, usage: UsageStore, clock: Clock, draw: random.Random, *, answers: int, hard: float
) -> None:
    """An hour of answers at random moments; a strong token costs twenty weak ones."""
    end = clock.now + HOUR
    for moment in sorted(draw.uniform(clock.now, end) for _ in range(answers)):
        clock.now = moment
        policy, strong, tokens, cost, scores = controller.policy(), 0, 0, 0.0, []
        for _ in range(draw.randint(1, 10)):
            score, size = draw.random() ** hard, draw.randint(10, 60)
            asked = score < policy.threshold if isinstance(policy, Threshold) else draw.random() < policy.parameter  # type: ignore[operator]
            scores.append(score)
            tokens += size
            strong += size * asked
            cost += size + 20 * size * asked
        usage.charge("a", UsageTotals(cost, strong, 1))
        controller.update(AnswerOutcome(strong, tokens, cost, 20.0 * tokens, scores))
    clock.now = end


@pytest.mark.parametrize("policy", [Threshold(0.5), RandomSteps(0.5)], ids=lambda policy: policy.name)
def test_an_hours_spend_meets_its_target_under_drift(policy: Threshold | RandomSteps, open_store: OpenStore) -> None:
    clock, draw = Clock(), random.Random(3)
    usage, target = open_store(clock=clock), 400_000.0
    controller = SpendController(policy, {1: target}, usage)
    spent = []
    for answers, hard in ((400, 1.0), (400, 3.0), (1_000, 1.0), (250, 2.0), (400, 1.0)):
        hour = usage.hour()
        traffic(controller, usage, clock, draw, answers=answers, hard=hard)
        spent.append((usage.totals(hour).cost - usage.totals(hour + 1).cost) / target)
    assert all(0.9 < one < 1.05 for one in spent[1:]), spent
    assert 0.7 < spent[0] < 1.1  # it begins in the middle


def test_a_days_spend_is_spread_over_the_day(open_store: OpenStore) -> None:
    clock, draw = Clock(), random.Random(4)
    usage, target = open_store(clock=clock), 5_000_000.0
    controller = SpendController(Threshold(0.5), {24: target}, usage)
    sums = []
    for hour in range(24):
        traffic(controller, usage, clock, draw, answers=20 if hour < 6 else 200, hard=1.0)
        sums.append(usage.totals(480_000).cost / target)
    assert sums[11] < 0.7
    assert sums[23] == pytest.approx(1.0, abs=0.05)


def test_the_nearest_of_two_targets_counts(open_store: OpenStore) -> None:
    clock, draw = Clock(), random.Random(5)
    usage = open_store(clock=clock)
    controller = SpendController(Threshold(0.5), {1: 400_000.0, 24: 1_200_000.0}, usage)
    for _ in range(6):
        traffic(controller, usage, clock, draw, answers=400, hard=1.0)
    # what is left of the day's is spread over the day: less than the hour's in each hour
    assert usage.totals(480_005).cost < 200_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[serve]\ntarget_spend_per_hour = -1.0", "target_spend_per_hour = -1.0 must be a number of at least 0"),
        ("[serve]\ntarget_spend_per_day = 1.0\ntarget_strong_share = 0.2", "target_strong_share, not both"),
        ("[serve]\ntarget_spend_per_day = 1.0\n[strong.prices]\nprompt = 1.0", "completion"),
    ],
)
def test_invalid_targets_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "trim.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "trim.toml")


def test_any_real_number_is_a_target(open_store: OpenStore) -> None:
    controllers = TargetControllers(open_store())
    controller = controllers.get(Threshold(0.5), 1 / 3)
    assert controllers.update(("threshold", 1 / 3), AnswerOutcome(5, 10)) is controller
    assert (controller.share, controller.state.answers) == (1 / 3, 1)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -5.0])
@pytest.mark.parametrize("share", [0.3, None])
def test_what_is_no_amount_moves_nothing(amount: Any, share: float | None, open_store: OpenStore) -> None:
    controllers = TargetControllers(open_store(), {1: 2.0})
    controller = controllers.get(Threshold(0.5), share)
    before = controller.state
    for outcome in (
        AnswerOutcome(amount, 10, 1.0, 1.0, [float("nan"), 0.5]),
        AnswerOutcome(5, amount, 1.0, 1.0),
        AnswerOutcome(5, 10, amount, 1.0),
        AnswerOutcome(5, 10, 1.0, amount),
    ):
        controllers.update(("threshold", share), outcome)
    assert controller.state == before
    assert list(controller.scores) == [0.5]
    controllers.update(("threshold", share), AnswerOutcome(5, 10, 0.5, 1.0))
    assert controller.state.answers == 1


@pytest.mark.parametrize(
    "saved",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"effort": "much"}, id="text"),
        pytest.param({"effort": -0.5}, id="negative"),
        pytest.param({"tokens": None}, id="null"),
    ],
)
def test_a_state_that_is_none_starts_anew(
    saved: dict[str, object], open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    usage = open_store()
    usage.save_state("threshold 0.3", (asdict(TargetState(0.7)) | saved if saved else {}) | {"scores": ["good"]})
    assert TargetControllers(usage).get(Threshold(0.5), 0.3).state == TargetState(0.3)
    assert "the controller of threshold 0.3 starts anew" in caplog.text
