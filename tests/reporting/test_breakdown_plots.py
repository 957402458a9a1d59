"""Plots of a breakdown, also of an empty one."""

from __future__ import annotations

from pathlib import Path

from matplotlib.patches import Rectangle

from tests.experiments.test_run import POLICIES, evaluate
from tests.pomdp.fit.recorded import record, rule
from trim.metrics.breakdown import KINDS, Breakdown, break_down
from trim.policies import RandomSteps
from trim.reporting.breakdown_plots import latency, positions, reliability, token_costs
from trim.reporting.png import png


def test_no_bar_touches_the_frame_and_no_legend_covers_one() -> None:
    tokens = dict.fromkeys(KINDS, 0) | {"weak kept": 100, "weak prompts": 300}  # what follows them is empty
    figure = token_costs({("random", 0.5): Breakdown(solutions=1, tokens=tokens)})
    for axes in figure.axes:
        longest = max(bar.get_x() + bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle))
        assert 0 < longest < 0.97 * axes.get_xlim()[1]
        assert axes.get_legend() is None
    assert len(figure.legends[0].get_texts()) == len(KINDS)


def test_pictures_are_drawn_also_of_nothing(tmp_path: Path) -> None:
    run = evaluate(tmp_path, POLICIES)
    inside = break_down(record(RandomSteps(0.5), 20), {("random", 0.5)}, rule)
    for figure in (token_costs(inside.points), positions(inside.points), reliability(inside.calibration)):
        assert png(figure).startswith(b"\x89PNG")
    for figure in (token_costs({}), positions({}), reliability([]), latency([]), latency(run.operating_points())):
        assert png(figure).startswith(b"\x89PNG")
