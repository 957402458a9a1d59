"""Tables of the terminal: what stands in them, and what is not reached or not there."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from rich.console import Console
from rich.table import Table

from tests.metrics.test_judge_quality import FOUR
from trim.metrics.curve_summary import Summary
from trim.metrics.judge_quality import quality
from trim.metrics.operating_point import OperatingPoint
from trim.metrics.run_comparison import Compared
from trim.reporting.tables import differences_table, points_table, quality_table, scorers_table, summary_table
from trim.stats import Estimate

POINT = OperatingPoint(
    "threshold", 0.5, 0.9, (0.8, 0.95), 12.34, 0.2, 0.96, 100, 3, 2, 4, 0.0012345, 0.0014, 1, 2, 50, 0
)  # fmt: skip
FIGURE = Estimate(0.25, 0.2, 0.3, 50)


def text(table: Table) -> list[list[str]]:
    """The cells of each row, as they are printed on a wide terminal."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    lines = [line for line in captured.get().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_points_have_blanks_for_what_a_run_without_ends_lacks() -> None:
    rows = text(points_table([POINT, replace(POINT, strong_share=None, pgr=None, parameter=None)], "[/b]"))
    assert rows[0] == ["threshold 0.5", "90.0%", "80-95%", "20%", "96%", "12.3", "1.234"]
    assert rows[1][0] == "threshold"
    assert rows[1][3:5] == ["", ""]


def test_summaries_say_none_for_what_was_not_reached() -> None:
    never = Estimate(inf, 0.3, inf, 50)
    budgets = dict.fromkeys((10, 20, 30), FIGURE)
    levels = {50: FIGURE, 80: FIGURE, 95: never}
    summary = Summary("threshold", 50, levels, FIGURE, FIGURE, FIGURE, budgets, FIGURE, never)
    (row,) = text(summary_table([summary]))
    assert row == ["threshold", "25.0%", "25.0%", "none", ">30%", "0.25", "0.25", "0.25", "none"]


def test_differences_are_in_points_and_marked_where_significant() -> None:
    rows = text(differences_table([Compared("a", FIGURE, True), Compared("b", replace(FIGURE, low=-0.1), False)]))
    assert rows == [["a", "+25.0", "+20.0 to +30.0", "50", "yes"], ["b", "+25.0", "-10.0 to +30.0", "50", ""]]


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_judges_have_their_figures_alone_and_side_by_side(threshold: float) -> None:
    found = quality(FOUR, threshold)
    rows = {row[0]: row[1] for row in text(quality_table(found, "judge"))}
    assert rows[f"F1 at {threshold:g}"] == f"{found.f1.value:.3f}"
    assert rows["milliseconds a step"] == "30.0"
    (row,) = text(scorers_table({"embedded": found}, "data"))
    assert (row[0], row[3], row[7]) == ("embedded", f"{found.f1.value:.3f}", "30.0")


def test_nothing_is_cut_at_80_columns() -> None:
    names = ("threshold", "always-strong", "glimp-router", "pomdp+revise+snapshot+2")
    many = replace(POINT, accuracy=1.0, accuracy_interval=(0.9, 1.0), strong_tokens=1234.5, cost=0.0123456)
    points = [replace(many, policy=name, parameter=0.00193) for name in names]
    full = Estimate(1.0, 0.9, 1.0, 50)
    levels, budgets = dict.fromkeys((50, 80, 95), full), dict.fromkeys((10, 20, 30), full)
    summaries = [
        Summary(name, 50, levels, FIGURE, full, full, budgets, full, Estimate(0.0123456, 0, 1, 50)) for name in names
    ]
    found = quality(FOUR, 0.65)
    scorers = dict.fromkeys(("embedded", "log-probability", "log-probability=weak"), found)
    compared = [Compared(f"{name} 0.00193 of both runs", FIGURE, True) for name in names]
    tables = {
        points_table(points, "run"): (
            "accuracy",
            "100.0%",
            "90-100%",
            "strong",
            "1234.5",
            "12.346",
            "glimp-router 0.00193",
        ),
        summary_table(summaries): ("100.0%", "90-100%", "delta-", "12.346", "glimp-router"),
        scorers_table(scorers, "file.jsonl"): ("calibration", "log-probability", f"{found.auroc.value:.3f}"),
        quality_table(found, "judge"): ("correct solutions left alone",),
        differences_table(compared): ("+20.0 to +30.0", "significant"),
    }
    for table, words in tables.items():
        console = Console(width=80)
        with console.capture() as captured:
            console.print(table)
        printed = captured.get()
        assert "…" not in printed
        assert max(map(len, printed.splitlines())) <= 80
        for word in words:
            assert word in printed


def test_estimated_counts_are_marked() -> None:
    rows = text(points_table([POINT, replace(POINT, estimated=3)], ""))
    assert rows[0][5:] == ["12.3", "1.234"]
    assert rows[1][5:] == ["~12.3", "~1.234"]
    console = Console(width=200)
    with console.capture() as captured:
        console.print(points_table([replace(POINT, estimated=3)], ""))
    assert "~ some token counts are estimates" in captured.get()
