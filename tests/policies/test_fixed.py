"""Policies that ignore observations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.errors import ConfigError
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.policies.fixed import scored
from trim.types import Action, Observation


def test_always_weak_and_always_strong_ignore_observations() -> None:
    seen = Observation((), (20,))
    assert AlwaysWeak().act(seen) is Action.CONTINUE
    assert AlwaysStrong().act(seen) is Action.TAKE_OVER
    assert (AlwaysWeak().uses_drafts, AlwaysStrong().uses_drafts) == (True, False)
    assert not AlwaysWeak().uses_scores
    assert not AlwaysStrong().uses_scores


@given(st.floats(0, 1), st.floats(0, 0.999), st.integers(1, 4))
def test_random_steps_follow_the_draw(rate: float, draw: float, drafts: int) -> None:
    action = RandomSteps(rate, resamples=2).act(Observation((), (20,), draw=draw, drafts=drafts))
    wanted = Action.RESAMPLE if drafts <= 2 else Action.REGENERATE
    assert action is (wanted if draw < rate else Action.CONTINUE)


def test_random_steps_revise_what_the_strong_model_wrote() -> None:
    written = Observation((), (20,), draw=0.1, strong_scores=((0.3,),))
    assert RandomSteps(0.5, max_revisions=1).act(written) is Action.REVISE


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="rate must lie"):
        RandomSteps(rate)
    with pytest.raises(ConfigError, match="resamples"):
        RandomSteps(0.5, resamples=-1)


def test_drafts_can_be_scored_for_the_record() -> None:
    assert scored(AlwaysWeak()).uses_scores
    assert scored(RandomSteps(0.5)).uses_scores
    assert scored(Threshold(0.5)) == Threshold(0.5)
