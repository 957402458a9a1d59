"""The simulator, through the Router, against a published threshold sweep of real models."""

from __future__ import annotations

import pytest

from benchmarks.simulator_fit import FITTED, Fit, published, sample_without_router, through_router, world
from tests.pomdp.instances import needs_calibration

pytestmark = needs_calibration
QUESTIONS = 400


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_the_router_meets_the_published_points(threshold: float) -> None:
    """400 questions have a standard error of 2.4 points and 5% of the calls, the published 500 of 2.1 and 4%."""
    mine = through_router(world(FITTED), threshold, QUESTIONS)
    theirs = next(point for point in published() if point.threshold == threshold)
    assert abs(mine.accuracy - theirs.accuracy) < 10
    assert mine.calls == pytest.approx(theirs.calls, rel=0.3)


def test_the_fit_is_within_its_tolerances() -> None:
    """Accuracy within 5 points and calls within 20% at every second threshold, and the ends without any fit."""
    here = world(FITTED)
    for theirs in published()[::2]:
        mine = sample_without_router(here, theirs.threshold, 20_000)
        assert abs(mine.accuracy - theirs.accuracy) < 5
        assert abs(mine.calls - theirs.calls) <= 0.2 * theirs.calls
    unfitted = world(Fit(difficulty=0.0, power=1.0, memory=0.0, doubt=0.0))
    assert (100 * unfitted.weak.solved_alone, 100 * unfitted.strong.solved_alone) == pytest.approx((36.4, 73.0), abs=5)


def test_the_fast_sampler_and_the_router_agree() -> None:
    here = world(FITTED)
    fast, routed = sample_without_router(here, 0.6, 20_000, seed=1), through_router(here, 0.6, 600, seed=1)
    assert abs(fast.accuracy - routed.accuracy) < 7
    assert routed.calls == pytest.approx(fast.calls, rel=0.15)
