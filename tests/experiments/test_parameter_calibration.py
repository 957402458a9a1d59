"""From a target to a parameter, on simulated runs."""

from __future__ import annotations

import pytest

from tests.pomdp.fit.recorded import record
from trim.errors import ConfigError
from trim.experiments.parameter_calibration import Tallies, Target, calibrate
from trim.metrics.tally import Tally
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Policy


def tallied(policies: list[Policy], count: int = 300) -> dict[tuple[str, float | None], Tally]:
    found = {}
    for policy in policies:
        counted = found[policy.name, policy.parameter] = Tally()
        for trace in record(policy, count):
            counted.add(trace)
    return found


@pytest.fixture(scope="module")
def run() -> Tallies:
    return tallied(
        [AlwaysWeak(), AlwaysStrong(), *map(RandomSteps, (0.25, 0.5, 0.75)), *map(Threshold, (0.3, 0.6, 0.9))]
    )


def test_random_steps_have_the_share_of_their_rate(run: Tallies) -> None:
    """All steps have the same length, so a strong share of 0.35 needs a rate of 0.35."""
    found = calibrate(run, "random", Target("strong_share", 0.35))
    assert found.parameter.low < 0.35 < found.parameter.high
    assert found.parameter.value == pytest.approx(0.35, abs=0.03)
    assert found.parameter.high - found.parameter.low < 0.1
    assert found.expected.strong_share == pytest.approx(0.35, abs=1e-6)
    assert found.held_out.realised.count == 150
    assert found.held_out.realised.low < 0.35 < found.held_out.realised.high
    assert found.parameter.count == 300


def test_costs_are_shares_in_other_words(run: Tallies) -> None:
    cost = calibrate(run, "threshold", Target("strong_share", 0.3)).expected.cost
    assert cost is not None
    found = calibrate(run, "threshold", Target("cost", cost))
    assert found.expected.strong_share == pytest.approx(0.3, abs=0.02)
    assert 0 < found.parameter.value < 1


def test_the_parameter_of_a_recorded_accuracy_is_found(run: Tallies) -> None:
    """The accuracy of a recorded point: its parameter, as it is the first to reach it."""
    recorded = run["threshold", 0.6]
    accuracy = sum(recorded.right) / len(recorded.right)
    found = calibrate(run, "threshold", Target("accuracy", accuracy))
    assert found.parameter.value == pytest.approx(0.6, abs=1e-9)
    assert found.parameter.low <= 0.6 <= found.parameter.high
    assert found.expected.accuracy == pytest.approx(accuracy)


def test_prices_go_down_as_shares_go_up(run: Tallies) -> None:
    """Thresholds under the name of prices: interpolation between two prices is geometric."""
    renamed = ((0.01, 0.3), (0.001, 0.6), (0.0001, 0.9))
    tallies: dict[tuple[str, float | None], Tally] = {("pomdp", price): run["threshold", k] for price, k in renamed}
    tallies["always-strong", None] = run["always-strong", None]
    shares = [sum(tally.strong_tokens) for tally in tallies.values()]
    middle = (shares[0] + shares[1]) / 2 / shares[3]
    found = calibrate(tallies, "pomdp", Target("strong_share", middle))
    assert found.parameter.value == pytest.approx(0.01**0.5 * 0.001**0.5)
    assert found.parameter.low < found.parameter.value < found.parameter.high


@pytest.mark.parametrize(
    ("policy", "target", "words"),
    [
        ("threshold", Target("accuracy", 0.999), r"accuracy 0.999 is out of reach: .* go from 0\.\d+ to 0\.\d+"),
        ("threshold", Target("strong_share", 1.5), "out of reach"),
        ("pomdp", Target("cost", 1.0), "0 points of pomdp"),
    ],
)
def test_an_unreachable_target_is_refused(run: Tallies, policy: str, target: Target, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        calibrate(run, policy, target)


def test_what_is_needed_is_named(run: Tallies) -> None:
    without = {key: tally for key, tally in run.items() if key[0] != "always-strong"}
    with pytest.raises(ConfigError, match="needs always-strong"):
        calibrate(without, "random", Target("strong_share", 0.3))
    with pytest.raises(ConfigError, match="30 questions"):
        calibrate(tallied([AlwaysWeak(), AlwaysStrong()], 30), "random", Target("strong_share", 0.3))


def test_a_user_defined_policy_is_assumed_to_spend_more_with_a_larger_parameter(run: Tallies) -> None:
    mine = {("patient" if name == "threshold" else name, parameter): tally for (name, parameter), tally in run.items()}
    found = calibrate(mine, "patient", Target("strong_share", 0.5))
    assert found.parameter.value == calibrate(run, "threshold", Target("strong_share", 0.5)).parameter.value
    calibrate(run, "threshold", Target("strong_share", 0.1))  # between always-weak and the first threshold
    with pytest.raises(ConfigError, match="out of reach"):  # where the ends of the scale are its own is not known
        calibrate(mine, "patient", Target("strong_share", 0.1))
