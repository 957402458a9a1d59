"""GlimpRouter: the entropy of a draft's first token."""

from __future__ import annotations

import pytest

from trim.baselines.step_level.glimp_router import GlimpRouter
from trim.errors import ConfigError
from trim.types import Action, Observation

SEEN = Observation((), (20,), entropy=0.3)


def test_a_larger_entropy_than_the_constant_is_rejected() -> None:
    assert GlimpRouter(0.3).act(SEEN) is Action.CONTINUE
    assert GlimpRouter(0.29).act(SEEN) is Action.REGENERATE
    assert GlimpRouter(0.0).act(SEEN) is Action.REGENERATE
    assert not GlimpRouter(0.3).uses_scores


def test_missing_values_and_invalid_parameters_are_errors() -> None:
    with pytest.raises(ConfigError, match="entropies"):
        GlimpRouter(0.3).act(Observation((), (20,)))
    with pytest.raises(ConfigError, match="glimp-router"):
        GlimpRouter(-1)
