"""Plots of a breakdown, also of an empty one."""

from __future__ import annotations

from pathlib import Path

from tests.experiments.test_run import POLICIES, evaluate
from tests.pomdp.fit.recorded import record, rule
from trim.metrics.breakdown import break_down
from trim.policies import RandomSteps
from trim.reporting.breakdown_plots import latency, positions, reliability, token_costs
from trim.reporting.png import png


def test_pictures_are_drawn_also_of_nothing(tmp_path: Path) -> None:
    run = evaluate(tmp_path, POLICIES)
    inside = break_down(record(RandomSteps(0.5), 20), {("random", 0.5)}, rule)
    for figure in (token_costs(inside.points), positions(inside.points), reliability(inside.calibration)):
        assert png(figure).startswith(b"\x89PNG")
    for figure in (token_costs({}), positions({}), reliability([]), latency([]), latency(run.operating_points())):
        assert png(figure).startswith(b"\x89PNG")
