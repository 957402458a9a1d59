"""The figures of an operating point."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from tests.experiments.test_run import POLICIES, evaluate
from trim.experiments.run import Run
from trim.metrics.operating_point import cheapest, measured_points
from trim.policies import AlwaysStrong, AlwaysWeak, Threshold
from trim.reporting.report_page import write_report
from trim.reporting.tables import points_table, summary_table
from trim.types import Price, Prices


def test_cheapest_point(tmp_path: Path) -> None:
    points = evaluate(tmp_path, POLICIES).operating_points()
    best = cheapest(points, "threshold", 0.5)
    assert best is not None
    assert best.pgr is not None
    assert best.pgr >= 0.5
    assert cheapest(points, "threshold", 2.0) is None


def test_a_cost_without_a_price_is_unknown_in_every_figure(tmp_path: Path) -> None:
    """The strong model has no price: the weak one alone has a cost, nothing else has."""
    run = evaluate(tmp_path, [AlwaysWeak(), AlwaysStrong(), Threshold(0.5)], prices=Prices(Price(0, 1), prm=Price(1)))
    weak, *others = run.operating_points()
    assert weak.cost is not None
    assert weak.cost > 0
    assert [(p.cost, p.cost_per_correct) for p in others] == [(None, None)] * 2
    assert [m.cost is None for m in measured_points(run.tallies)] == [False, True, True]
    results = json.loads(run.write_results().read_text())
    assert [p["cost"] for p in results["operating_points"]] == [weak.cost, None, None]
    assert results["summary"][0]["cost_per_correct"] is None
    console = Console(width=80)
    with console.capture() as captured:
        console.print(points_table(others, ""))
        console.print(summary_table(run.summaries()))
    assert captured.get().count("unknown") == 3
    write_report(run)
    html = (tmp_path / "report.html").read_text()
    assert "unknown" in html
    assert "<td>0.000</td>" not in html
    reopened = Run.open(tmp_path)
    assert reopened.operating_points() == run.operating_points()
