"""Two policies at equal strong share."""

from __future__ import annotations

import numpy as np
import pytest

from trim.metrics.matched_share import matched_difference
from trim.metrics.tally import Tally

COUNT = 400
RNG = np.random.default_rng(3)
EASY = RNG.random(COUNT)


def point(accuracy: float, tokens: float, seed: int | None = None) -> Tally:
    """A point that answers the easiest questions, or (with a seed) as many drawn at random."""
    hardness = EASY if seed is None else np.random.default_rng(seed).random(COUNT)
    right = hardness < np.quantile(hardness, accuracy)
    questions = [f"q{i}" for i in range(COUNT)]
    return Tally(questions, list(map(int, right)), [tokens] * COUNT, [0.001 * tokens] * COUNT)


WEAK, STRONG = point(0.4, 0), point(0.8, 100)


def test_a_mixture_of_two_points_spends_the_share() -> None:
    first, second = [point(0.6, 10), point(0.7, 30)], [point(0.5, 20)]
    found = matched_difference(first, second, 0.2, weak=WEAK, strong=STRONG)
    assert found.value == pytest.approx(0.65 - 0.5)
    assert found.low < 0.15 < found.high
    assert found.high - found.low < 0.1
    # Below its cheapest point a policy is mixed with the weak model, above its most expensive with the strong one.
    found = matched_difference(first, second, 0.05, weak=WEAK, strong=STRONG)
    assert found.value == pytest.approx(0.5 - 0.425)
    found = matched_difference(first, second, 0.6, weak=WEAK, strong=STRONG)
    assert found.value == pytest.approx((0.7 + 0.1 * 30 / 70) - (0.5 + 0.3 * 40 / 80))


def test_a_policy_does_not_differ_from_itself() -> None:
    points = [point(0.6, 10, 1), point(0.7, 30, 2)]
    found = matched_difference(points, points[::-1], 0.2, weak=WEAK, strong=STRONG)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_pairing_narrows_the_interval() -> None:
    same = matched_difference([point(0.6, 20)], [point(0.55, 20)], 0.2, weak=WEAK, strong=STRONG)
    drawn = matched_difference([point(0.6, 20, 1)], [point(0.55, 20, 2)], 0.2, weak=WEAK, strong=STRONG)
    assert same.high - same.low < 0.7 * (drawn.high - drawn.low)


def test_the_interval_is_that_of_a_plain_bootstrap() -> None:
    """With constant tokens the weights are known: resample the questions' weighted differences."""
    first, second = [point(0.6, 10, 1), point(0.7, 30, 2)], [point(0.5, 10, 3), point(0.55, 30, 4)]
    found = matched_difference(first, second, 0.15, weak=WEAK, strong=STRONG, draws=4000)
    mixed = [0.75 * np.array(a.right) + 0.25 * np.array(b.right) for a, b in (first, second)]
    difference = mixed[0] - mixed[1]
    rng = np.random.default_rng(9)
    means = [rng.choice(difference, COUNT).mean() for _ in range(4000)]
    assert found.value == pytest.approx(difference.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, (2.5, 97.5))), abs=0.006)


def test_samples_of_a_question_are_one_observation() -> None:
    once = point(0.6, 20, 1)
    thrice = Tally(once.questions * 3, [*once.right] * 3, [*once.strong_tokens] * 3, [*once.cost] * 3)
    one, three = (
        matched_difference([tally], [point(0.5, 20)], 0.2, weak=WEAK, strong=STRONG) for tally in (once, thrice)
    )
    assert one == three


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one operating point"):
        matched_difference([], [WEAK], 0.2, weak=WEAK, strong=STRONG)
    with pytest.raises(ValueError, match="no question was answered at all of 4 points"):
        matched_difference([Tally(["x"], [True], [0.0], [0.0])], [WEAK], 0.2, weak=WEAK, strong=STRONG)
    with pytest.raises(ValueError, match=r"\[0, 1\], not 20"):
        matched_difference([WEAK], [WEAK], 20, weak=WEAK, strong=STRONG)
