"""Evaluation of judges: figures by hand, on a PRM of known quality, and recalibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pomdp.fit.recorded import record, rule
from trim.metrics.judge_quality import Judged, auroc, quality
from trim.policies import AlwaysWeak

FOUR = [
    Judged((0.9, 0.2, 0.9), 1, 0.3),  # named exactly
    Judged((0.4, 0.9, 0.1), 2),  # too early a step called wrong
    Judged((0.9, 0.8), -1),  # left alone
    Judged((0.9, 0.45), -1),  # a right step called wrong
]


def simulated(accuracy: float, count: int = 400) -> list[Judged]:
    """Weak solutions with the simulated PRM's scores and true labels."""
    judged = []
    for trace in record(AlwaysWeak(uses_scores=True), count, prm=accuracy):
        labels = rule(trace.question, [step.text for step in trace.steps])
        scores = tuple(decision.score or 0.0 for decision in trace.decisions)
        judged.append(Judged(scores, labels.index(False) if False in labels else -1, 0.001))
    return judged


def test_figures_by_hand() -> None:
    found = quality(FOUR)
    assert (found.erroneous.value, found.correct.value, found.f1.value) == (0.5, 0.5, 0.5)
    assert found.near == 0.5
    assert (found.solutions, found.steps) == (4, 9)  # the step behind a first wrong one does not count
    right, wrong = [0.9, 0.4, 0.9, 0.9, 0.8, 0.9, 0.45], [0.2, 0.1]
    assert found.auroc.value == 1.0
    assert auroc(np.array(right + wrong), np.array([1.0] * 7 + [0.0] * 2)) == 1.0
    assert found.seconds_per_step == pytest.approx(0.3 / 10)
    assert found.best_f1 == 1.0
    assert 0.2 < found.best_threshold <= 0.4
    with pytest.raises(ValueError, match="both correct and erroneous"):
        quality(FOUR[:2])


def test_auroc_counts_ties_half_and_takes_weights() -> None:
    scores, right = np.array([0.5, 0.5, 0.7]), np.array([1.0, 0.0, 1.0])
    assert auroc(scores, right) == 0.75
    assert auroc(scores, right, np.array([1, 1, 0])) == 0.5
    assert np.isnan(auroc(scores, np.ones(3)))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=40))
def test_auroc_is_the_share_of_ordered_pairs(pairs: list[tuple[float, bool]]) -> None:
    good, bad = [s for s, r in pairs if r], [s for s, r in pairs if not r]
    found = auroc(np.array([s for s, _ in pairs]), np.array([float(r) for _, r in pairs]))
    if good and bad:
        assert found == pytest.approx(np.mean([(g > b) + 0.5 * (g == b) for g in good for b in bad]))


def test_a_better_prm_has_better_figures() -> None:
    good, poor = quality(simulated(0.95)), quality(simulated(0.7))
    assert good.f1.low > poor.f1.high
    assert good.auroc.low > poor.auroc.high
    assert good.f1.low < good.f1.value < good.f1.high
