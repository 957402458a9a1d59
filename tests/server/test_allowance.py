"""No call costs more than its request may spend; what cannot be paid for is shorter, or left out."""

from __future__ import annotations

import pytest

from tests.server.gateway import PRM, STRONG, WEAK, ask, serving, simulated
from trim.policies import AlwaysStrong, AlwaysWeak, Threshold
from trim.server.allowance import Needs
from trim.types import Price, Prices

PRICES = Prices(weak=Price(1e6, 2e6), strong=Price(1e7, 1e7), prm=Price(1e6))


def test_needs_are_those_of_all_answers_and_all_roles() -> None:
    weak = Needs.of(PRICES, AlwaysWeak(), [10, 10], tokens=100, strong_tokens=100)
    assert (weak.wanted, weak.least) == (2 * (10 + 200), 2 * (10 + 128))
    strong = Needs.of(PRICES, AlwaysStrong(), [10], tokens=100, strong_tokens=20)
    assert (strong.wanted, strong.least) == (10 * (10 + 20), 10 * (10 + 20))
    both = Needs.of(PRICES, Threshold(0.5), [10], tokens=100, strong_tokens=20)
    assert both.wanted == 10 + 200 + 2 * (10 + 100) + 10 * (10 + 20)
    assert both.least == 10 + 128 + 10 + 4 * 64
    assert Needs.of(Prices(), Threshold(0.5), [10], tokens=100, strong_tokens=20) == Needs(0.0, 0.0)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ends_where_a_cap_leaves_nothing(stream: bool) -> None:
    """The weak model's tokens cost 0.08e-6: the cap pays for some hundred of them."""
    cap = 6e-5
    with serving(simulated(WEAK, STRONG, PRM, spend_per_hour=cap)) as served:
        answers = [served.post(ask("hard 7", seed=seed, stream=stream)) for seed in range(30)]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert served.gateway.usage.totals(0).cost <= cap
        assert served.gateway.usage.reserved() == 0


def test_without_a_cap_all_is_as_ever() -> None:
    with serving(simulated()) as free, serving(simulated(spend_per_hour=1000.0)) as capped:
        for seed in range(5):
            one, other = (each.post(ask("hard 7", seed=seed)).json() for each in (free, capped))
            assert one["choices"] == other["choices"]
            assert one["trim"]["usage"] == other["trim"]["usage"]
