"""Confidence: the mean token probability of a draft."""

from __future__ import annotations

import pytest

from trim.baselines.step_level.confidence import Confidence
from trim.errors import ConfigError
from trim.types import Action, Observation

SEEN = Observation((), (20,), logprob=-0.1)  # exp(-0.1) = 0.905


def test_a_lower_probability_than_the_constant_is_rejected() -> None:
    assert Confidence(0.9).act(SEEN) is Action.CONTINUE
    assert Confidence(0.91).act(SEEN) is Action.REGENERATE
    assert not Confidence(0.9).uses_scores


def test_missing_values_and_invalid_parameters_are_errors() -> None:
    with pytest.raises(ConfigError, match="log-probabilities"):
        Confidence(0.9).act(Observation((), (20,)))
    with pytest.raises(ConfigError, match="confidence"):
        Confidence(2)
