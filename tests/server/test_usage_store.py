"""A spend an hour or a day that is held by moving the policy's parameter, under a clock that the tests wind."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.server.gateway import WEAK, ask, serving, simulated
from trim.config.settings import Config, load_config
from trim.errors import ConfigError
from trim.policies import RandomSteps, Threshold
from trim.server.budget_controller import AnswerOutcome, SpendController
from trim.server.gateway import Gateway
from trim.server.usage_store import UsageStore, UsageTotals

HOUR = 3600.0
START = 480_000 * HOUR  # a day begins


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


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
def test_an_hours_spend_is_held_while_traffic_and_questions_drift(policy: Threshold | RandomSteps) -> None:
    clock, draw = Clock(), random.Random(3)
    target = 400_000.0
    with closing(UsageStore(clock=clock)) as usage:
        controller = SpendController(policy, {1: target}, usage)
        spent = []
        for answers, hard in ((400, 1.0), (400, 3.0), (1_000, 1.0), (250, 2.0), (400, 1.0)):
            hour = usage.hour()
            traffic(controller, usage, clock, draw, answers=answers, hard=hard)
            spent.append((usage.totals(hour).cost - usage.totals(hour + 1).cost) / target)
        assert all(0.9 < one < 1.05 for one in spent[1:]), spent
        assert 0.7 < spent[0] < 1.1  # it begins in the middle


def test_a_days_spend_is_spread_over_the_day() -> None:
    clock, draw = Clock(), random.Random(4)
    target = 5_000_000.0
    with closing(UsageStore(clock=clock)) as usage:
        controller = SpendController(Threshold(0.5), {24: target}, usage)
        sums = []
        for hour in range(24):
            traffic(controller, usage, clock, draw, answers=20 if hour < 6 else 200, hard=1.0)
            sums.append(usage.totals(480_000).cost / target)
        assert sums[11] < 0.7
        assert sums[23] == pytest.approx(1.0, abs=0.05)


def test_the_nearest_of_two_targets_counts() -> None:
    clock, draw = Clock(), random.Random(5)
    with closing(UsageStore(clock=clock)) as usage:
        controller = SpendController(Threshold(0.5), {1: 400_000.0, 24: 1_200_000.0}, usage)
        for _ in range(6):
            traffic(controller, usage, clock, draw, answers=400, hard=1.0)
        # what is left of the day's is spread over the day: less than the hour's in each hour
        assert usage.totals(480_005).cost < 200_000


def test_the_gateway_holds_it_and_a_restart_goes_on(tmp_path: Path) -> None:
    alone = {}
    for model in ("trim-weak", "trim-strong"):
        with serving(simulated()) as served:
            costs = [served.post(ask(f"q{i}", model=model, seed=i)).json()["trim"]["cost"] for i in range(30)]
            alone[model] = sum(costs) / len(costs)
    target = 200 * (0.6 * alone["trim-weak"] + 0.4 * alone["trim-strong"])  # 200 requests an hour
    backends, clock = simulated(target_spend_per_hour=target, state=str(tmp_path / "state.db")), Clock()
    asked: list[int] = []

    def ask_for_an_hour(hours: int) -> list[float]:
        spent = []
        for _ in range(hours):
            first = served.gateway.usage.hour()
            for i in range(200):
                assert served.post(ask(f"q{i}", seed=int(clock.now))).status_code == 200
                asked.append(i)
                served.spent(len(asked))
                clock.now += HOUR / 200
            clock.now = (first + 1) * HOUR
            spent.append(served.gateway.usage.totals(first).cost)
        return spent

    with serving(backends, clock=clock) as served:
        first, second = ask_for_an_hour(2)
        assert second == pytest.approx(target, rel=0.1)
        held = served.gateway.controllers.get(Threshold(0.5), None).state
        text = served.get("/metrics").text
        assert 'trim_controller_effort{policy="threshold",target="spend"}' in text
        assert f'trim_spend_target{{window="hour"}} {target}' in text
        (day,) = (line for line in text.splitlines() if line.startswith('trim_spend{window="day"}'))
        assert float(day.split()[1]) == pytest.approx(first + second)
    with serving(backends, clock=clock) as served:
        again = served.gateway.controllers.get(Threshold(0.5), None)
        assert again.state == held
        (third,) = ask_for_an_hour(1)
        assert third == pytest.approx(target, rel=0.1)


def test_a_hard_cap_holds_over_the_target() -> None:
    clock, cap = Clock(), 1.5e-3
    slow = replace(WEAK, token_seconds=0.0002, block=10)
    backends = simulated(slow, target_spend_per_hour=1.0, spend_per_hour=cap, max_requests=8)
    with serving(backends, clock=clock) as served, ThreadPoolExecutor(8) as pool:
        for _ in range(2):  # the next hour has a budget of its own
            before = served.gateway.usage.totals(0)
            answers = list(pool.map(lambda i: served.post(ask(f"hard {i}", seed=i)), range(60)))
            done = [answer.json()["trim"]["cost"] for answer in answers if answer.status_code == 200]
            assert {answer.status_code for answer in answers} == {200, 429}
            spent = served.spent(before.requests + len(done)).cost - before.cost
            assert cap / 4 < spent <= cap + 7 * max(done)  # by no more than what is under way
            clock.now += HOUR


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[serve]\ntarget_spend_per_hour = -1.0", "target_spend_per_hour = -1.0 must be a number of at least 0"),
        ("[serve]\ntarget_spend_per_day = 1.0\ntarget_strong_share = 0.2", "target_strong_share, not both"),
        ("[serve]\ntarget_spend_per_day = 1.0\n[strong.prices]\nprompt = 1.0", "completion"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "trim.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "trim.toml")


def test_a_policy_that_holds_nothing_is_found_at_the_start() -> None:
    backends = simulated(target_spend_per_hour=1.0)
    config = replace(backends.config, policy=replace(Config().policy, name="always-weak"))
    with pytest.raises(ConfigError, match="no parameter"):
        Gateway(replace(backends, config=config))
