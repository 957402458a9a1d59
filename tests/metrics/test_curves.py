"""Figures of curves: by hand, against the published run, and as invariants."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.metrics.curves import (
    Curve,
    area,
    at_share,
    best_lift,
    best_within,
    by_share,
    first_reaching,
    hull,
    mean_lift,
    reach,
)

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "results" / "threshold_math500_qwen1.5b_7b.jsonl"


def curve(*points: tuple[float, float]) -> Curve:
    table = np.array(points, float)
    return by_share(table[None, :, 0], table[None, :, 1])


BENT = curve((1, 1), (0, 0), (0.2, 0.6), (0.6, 0.8), (0.4, 0.5))


@pytest.mark.parametrize(
    ("target", "share", "point"),
    [(0.0, 0.0, 0.0), (0.3, 0.1, 0.2), (0.6, 0.2, 0.2), (0.65, 0.5, 0.6), (0.9, 0.8, 1.0), (1.1, np.inf, np.inf)],
)
def test_reach_interpolates_and_the_first_point_does_not(target: float, share: float, point: float) -> None:
    assert reach(BENT, target)[0] == pytest.approx(share)
    assert first_reaching(BENT, target)[0] == point


def test_a_curve_that_begins_above_the_target_reaches_it_at_its_first_point() -> None:
    assert reach(curve((0.3, 0.9)), 0.5)[0] == 0.3
    assert reach(curve((0.3, 0.4)), 0.5)[0] == np.inf


def test_areas() -> None:
    assert area(curve((0, 0), (1, 1)))[0] == pytest.approx(0.5)
    assert area(BENT)[0] == pytest.approx(0.06 + 0.11 + 0.13 + 0.36)
    assert area(curve((0, 0), (0.5, 1), (1, 1), (1.4, 0.9)))[0] == pytest.approx(0.75)
    assert area(hull(BENT))[0] == pytest.approx(0.06 + 0.8 * 0.8)
    falling = curve((0, 0.8), (1, 0.2))
    assert area(hull(falling))[0] == pytest.approx(0.8)


def test_budgets_may_be_spent_on_a_mixture() -> None:
    assert best_within(BENT, 0.1)[0] == pytest.approx(0.3)
    assert best_within(BENT, 0.4)[0] == pytest.approx(0.6)  # not the worse point at 0.4
    assert best_within(BENT, 0.5)[0] == pytest.approx(0.65)


def test_lift_by_region() -> None:
    share = np.array([[0.05, 0.1, 0.5, 1.2, 0.0]])
    pgr = np.array([[0.5, 0.4, 0.75, 0.9, 0.0]])
    lifts = [9.0, 3.0, 0.5, -0.25]
    assert mean_lift(share, pgr)[0] == pytest.approx(((9 + 3) / 2 + lifts[2] + lifts[3]) / 3)
    assert best_lift(share, pgr)[0] == pytest.approx(9.0)
    assert np.isnan(mean_lift(share[:, 4:], pgr[:, 4:])[0])
    assert np.isnan(best_lift(share[:, 4:], pgr[:, 4:])[0])


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published run file is not there")
def test_the_published_threshold_run() -> None:
    """MATH-500, Qwen2.5-1.5B to 7B: CPT50/80/95 of 19.8, 33.1 and 44.3% at the first grid point."""
    rows = [json.loads(line) for line in PUBLISHED.read_text().splitlines()]
    accuracy = np.array([[row["accuracy"] for row in rows]])
    tokens = np.array([[row["avg_target_tokens_per_question"] for row in rows]])
    full = next(row for row in rows if row["threshold"] == 1.0)
    pgr = (accuracy - 0.364) / (full["accuracy"] - 0.364)
    found = by_share(tokens / full["avg_target_tokens_per_question"], pgr)
    assert [round(100 * first_reaching(found, x)[0], 1) for x in (0.5, 0.8, 0.95)] == [19.8, 33.1, 44.3]
    assert [round(100 * reach(found, x)[0], 1) for x in (0.5, 0.8, 0.95)] == pytest.approx([18.9, 32.7, 43.9], abs=1)


SHARES = st.integers(1, 99).map(lambda percent: percent / 100)
POINTS = st.lists(st.tuples(SHARES, st.floats(0, 1)), min_size=1, max_size=8, unique_by=lambda p: p[0])


@given(POINTS, st.floats(0.01, 0.99))
def test_a_target_is_reached_where_reach_says(points: list[tuple[float, float]], target: float) -> None:
    drawn = curve((0, 0), *points)
    share = reach(drawn, target)
    if np.isfinite(share[0]):
        assert at_share(drawn, share)[0] == pytest.approx(target, abs=1e-6)
        assert share[0] <= first_reaching(drawn, target)[0]
        assert best_within(drawn, float(share[0]) + 1e-9)[0] >= target - 1e-6
    else:
        assert max(value for _, value in points) < target


@given(POINTS)
def test_the_hull_is_above_the_curve_and_concave(points: list[tuple[float, float]]) -> None:
    drawn = curve((0, 0.2), *points, (1, 0.7))
    above = hull(drawn)
    assert (above.value >= drawn.value - 1e-9).all()
    assert (np.diff(above.value) >= -1e-9).all()
    assert area(above)[0] >= area(drawn)[0] - 1e-9
    slopes = np.diff(above.value[0]) / np.maximum(np.diff(above.share[0]), 1e-12)
    wide = np.diff(above.share[0]) > 1e-6
    assert (np.diff(slopes[wide]) <= 1e-5).all()
