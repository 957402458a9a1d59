"""Simulated scores follow their bins."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.pomdp.instances import scores_in
from trim.errors import ConfigError
from trim.simulation import (
    SimulatedPrm,
    graded,
    stricter,
)
from trim.types import Question

QUESTIONS = [Question(f"question {i}") for i in range(800)]


def test_scores_follow_the_bins() -> None:
    """Conditional on the state and the min before, scores have the bins' frequencies."""
    prm = SimulatedPrm(scores=scores_in((0.1, 0.2, 0.7), (0.6, 0.3, 0.1), (0.5, 0.3, 0.2)))
    states = {0: ("a",), 1: ("(slip)",), 2: ("(slip)", "b (slip)")}
    for state, steps in states.items():
        drawn = [asyncio.run(prm.score(question, steps)).values[-1] for question in QUESTIONS]
        found = np.histogram(drawn, np.linspace(0, 1, 4))[0] / len(drawn)
        assert np.allclose(found, prm.bins.mass[state, 0], atol=0.06)


def test_graded_scores_have_the_accuracy() -> None:
    for accuracy in (0.5, 0.8, 0.95, 1.0):
        below = graded(accuracy).mass[:, 0, :10].sum(axis=1)
        assert np.allclose(below, [1 - accuracy, accuracy, accuracy])
    with pytest.raises(ConfigError, match="accuracy"):
        graded(0.3)


def test_stricter_scores() -> None:
    plain = graded(0.9)
    assert np.allclose(stricter(plain).mass, plain.mass, atol=0.02)
    correct, recoverable, lost = stricter(plain, power=2.0, memory=1.0, doubt=0.5).mass[:, 0]
    assert recoverable[:4].sum() > plain.mass[1, 0, :4].sum() + 0.1
    assert np.allclose(lost, recoverable, atol=0.01)
    assert correct[:4].sum() > 0.3
    with pytest.raises(ConfigError, match="memory"):
        stricter(plain, memory=1.5)
