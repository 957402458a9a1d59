"""The figures of an operating point."""

from __future__ import annotations

from pathlib import Path

from tests.experiments.test_run import POLICIES, evaluate
from trim.metrics.operating_point import cheapest


def test_cheapest_point(tmp_path: Path) -> None:
    points = evaluate(tmp_path, POLICIES).operating_points()
    best = cheapest(points, "threshold", 0.5)
    assert best is not None
    assert best.pgr is not None
    assert best.pgr >= 0.5
    assert cheapest(points, "threshold", 2.0) is None
