"""Reward-guided speculative decoding: a constant, or the reward as a probability."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.baselines.step_level.rsd import RsdClipped, rsd
from trim.errors import ConfigError
from trim.policies import FAMILIES
from trim.types import Action, Observation


def test_the_binary_rule_accepts_from_delta_on() -> None:
    seen = Observation(scores=(0.9, 0.6), tokens=(20, 20), actions=(Action.CONTINUE,))
    assert rsd(0.6).act(seen) is Action.CONTINUE
    assert rsd(0.61).act(seen) is Action.REGENERATE
    assert 0.7 in FAMILIES["rsd"].sweep  # the paper's
    with pytest.raises(ConfigError, match="threshold must lie"):
        rsd(1.1)


@given(st.floats(0, 1), st.floats(0, 0.999))
def test_the_clipped_rule_accepts_with_the_reward_as_probability(score: float, draw: float) -> None:
    seen = Observation((score,), (20,), draw=draw)
    assert (RsdClipped().act(seen) is Action.CONTINUE) == (draw < score)
