"""The frontier: drawn, and no two curves alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.experiments.test_run import POLICIES, evaluate
from trim.reporting.frontier_plot import COST, SHARE, Axis, frontier
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


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("axis", [SHARE, COST])
def test_no_frontier_is_blank(tmp_path: Path, axis: Axis) -> None:
    """Nothing to draw is said in words; one point, or points that are all equal, are seen with room around them."""
    assert words(frontier([], "", axis)) == ["There are no answers yet."]
    points = evaluate(tmp_path, POLICIES).operating_points()
    without = [replace(p, cost=None, strong_share=None) for p in points]
    assert words(frontier(without, "", axis)) == [axis.missing]
    one = next(p for p in points if p.policy == "threshold")
    equal = [replace(p, accuracy=1.0, accuracy_interval=(1.0, 1.0), strong_share=0.0, cost=0.0) for p in points]
    for shown in ([one], equal, equal[:1]):
        axes = frontier(shown, "", axis).axes[0]
        left, right = axes.get_xlim()
        low, high = axes.get_ylim()
        assert high - low >= 0.1
        for p in shown:
            x = axis.of(p)
            assert x is not None
            assert left < x < right
            assert low < p.accuracy < high


def test_points_of_unknown_cost_are_left_out_of_costs(tmp_path: Path) -> None:
    points = evaluate(tmp_path, POLICIES).operating_points()
    some = [replace(p, cost=None) if p.policy == "random" else p for p in points]
    labels = [str(line.get_label()) for line in frontier(some, "", COST).axes[0].get_lines()]
    assert any(label.startswith("threshold") for label in labels)
    assert not any(label.startswith("random") for label in labels)
