"""The report: what is in it, and that a browser shows it without network or errors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.experiments.test_run import POLICIES, evaluate
from trim.metrics.operating_point import OperatingPoint
from trim.reporting.report_page import _judge, headline, write_report

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_shows_it_without_network_or_errors(tmp_path: Path) -> None:
    assert BROWSER is not None
    report = write_report(evaluate(tmp_path, POLICIES))
    html = report.read_text()
    assert "default-src 'none'" in html
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert data
    rows = json.loads(data.group(1))
    better = {r["q"] for r in rows if r["p"] == "threshold 0.6" and r["ok"]} & {
        r["q"] for r in rows if r["p"] == "always-weak" and not r["ok"]
    }
    fragment = f"policy={quote('threshold 0.6')}&beside=always-weak&verdict=better"
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr", "--dump-dom", f"{report.as_uri()}#{fragment}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert ":CONSOLE" not in done.stderr
    assert done.stdout.count('<article class="solution">') == len(better) > 0
    assert done.stdout.count('class="pair"') == len(better)


def test_the_report_says_which_judge_scored() -> None:
    assert _judge({"judge": "mine, a regression", "known": "AUROC 0.8"}) == ". Judge: mine, a regression (AUROC 0.8)"
    assert _judge(None) == _judge({}) == ""  # a run of an earlier version


def test_the_frontier_is_explained_by_what_is_in_it(tmp_path: Path) -> None:
    html = write_report(evaluate(tmp_path / "all", POLICIES)).read_text()
    assert "Random shows" in html
    assert "oracle shows" not in html
    assert "Random shows" not in write_report(evaluate(tmp_path / "ends", POLICIES[:2])).read_text()


def test_estimated_counts_are_marked(tmp_path: Path) -> None:
    run = evaluate(tmp_path, POLICIES[:2])
    mark = "~ some token counts are estimates"
    assert mark not in write_report(run).read_text()
    run.tallies["always-weak", None].estimated = 3
    html = write_report(run).read_text()
    assert mark in html
    assert len(re.findall(r"<td>~\d", html)) == 5


def point(policy: str, parameter: float | None, accuracy: float, share: float, cost: float | None) -> OperatingPoint:
    return OperatingPoint(
        policy, parameter, accuracy, (accuracy - 0.05, accuracy + 0.05), 100 * share, share, (accuracy - 0.4) / 0.4,
        100.0, 10.0, 1.0, 5.0, cost, None, 0.1, 0.2, 100, 0,
    )  # fmt: skip


ENDS = [point("always-weak", None, 0.4, 0.0, 0.1), point("always-strong", None, 0.8, 1.0, 2.0)]


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([("threshold", 0.5, 0.78, 0.5, 1.0)], "threshold 0.5 solves 78%"),
        # the best of all policies that can be used: the cheapest that recovers 95%, in money
        (
            [("threshold", 0.5, 0.79, 0.2, 1.0), ("seq", 0.01, 0.79, 0.25, 0.6), ("random", 0.1, 0.8, 0.01, 0.1)],
            "seq 0.01 solves 79% (95% confidence interval 74% to 84%) with 25% of the strong model's tokens and 30% of",
        ),
        ([("oracle", None, 0.9, 0.1, 0.1), ("threshold", 0.5, 0.6, 0.2, 1.0)], "threshold 0.5 solves 60%"),
        ([("pomdp", 0.01, 0.79, 0.25, None)], "25% of the strong model's tokens; the total cost is unknown"),
        ([("random", 0.5, 0.6, 0.5, 1.0)], "random 0.5 solves 60%"),
        ([], "No policy that routes was run."),
    ],
)
def test_the_headline_is_of_the_best_policy_that_can_be_used(points: list[Any], said: str) -> None:
    assert said in headline([*ENDS, *(point(*each) for each in points)])


def test_the_headline_says_when_there_is_no_gap() -> None:
    assert "no gap" in headline([ENDS[0], replace(ENDS[1], accuracy=0.4)])
    assert headline(ENDS[:1]) == ""


def test_plots_follow_the_mode_of_the_page(tmp_path: Path) -> None:
    html = write_report(evaluate(tmp_path, POLICIES)).read_text()
    assert "<img" not in html
    assert html.count('<svg class="plot"') == 5  # with the cost
    assert "Accuracy against total cost" in html
    assert "--plot-0072b2:" in html
