"""The frontier: drawn, and no two curves alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.experiments.test_run import POLICIES, evaluate
from trim.reporting.frontier_plot import frontier
from trim.reporting.png import write_png


def test_no_two_curves_look_alike(tmp_path: Path) -> None:
    points = evaluate(tmp_path, POLICIES).operating_points()
    names = ["rsd", "glimp-router", "confidence", "automix", "classifier", "agg", "seq", "take-over", "smoothie"]
    threshold = next(p for p in points if p.policy == "threshold")
    axes = frontier([*points, *(replace(threshold, policy=name) for name in names)], "many").axes[0]
    looks = [
        (line.get_marker(), line.get_linestyle())
        for line in axes.get_lines()
        if not str(line.get_label()).startswith("_")
    ]
    assert len(looks) == len(names) + 2
    assert len({marker for marker, _ in looks}) == len(looks)  # without colour too


def test_the_label_is_the_figures_of_the_point_that_it_marks(tmp_path: Path) -> None:
    points = evaluate(tmp_path, POLICIES).operating_points()
    threshold = next(p for p in points if p.policy == "threshold")
    axes = frontier([*points, replace(threshold, parameter=0.99, pgr=0.973, strong_share=0.01)], "label").axes[0]
    labels = [text.get_text() for text in axes.texts]
    assert "97% of the gap recovered\nwith 1% of the strong tokens" in labels


def test_frontier_is_drawn(tmp_path: Path) -> None:
    points = evaluate(tmp_path, POLICIES).operating_points()
    write_png(frontier(points, "simulated"), tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")
    write_png(frontier([], "nothing"), tmp_path / "empty.png")
