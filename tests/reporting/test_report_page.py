"""The report: what is in it, and that a browser shows it without network and complaints."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.experiments.test_run import POLICIES, evaluate
from tests.pomdp.fit.recorded import record, rule
from trim.metrics.breakdown import KINDS, break_down
from trim.policies import AlwaysWeak, RandomSteps, Threshold
from trim.reporting.breakdown_plots import latency, positions, reliability, token_costs
from trim.reporting.frontier_plot import frontier
from trim.reporting.png import png
from trim.reporting.report_page import write_report
from trim.types import Role

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def test_the_breakdown_adds_up() -> None:
    traces = record(Threshold(0.5), 80)
    inside = break_down(traces, {("threshold", 0.5)}, rule)
    breakdown = inside.points["threshold", 0.5]
    assert breakdown.solutions == 80
    written = sum(t.usage[role].completion_tokens for t in traces for role in (Role.WEAK, Role.STRONG))
    assert sum(breakdown.tokens[kind] for kind in KINDS[:4]) == written
    assert sum(breakdown.steps) == sum(len(t.steps) for t in traces)
    assert sum(breakdown.strong_steps) == sum(step.role is Role.STRONG for t in traces for step in t.steps)
    assert breakdown.steps[0] == 80


def test_calibration_is_of_drafts_behind_right_steps() -> None:
    """The simulated PRM of accuracy 0.9 scores right drafts high: counted once more by hand."""
    traces = record(AlwaysWeak(uses_scores=True), 200)
    bins = break_down(traces, {("always-weak", None)}, rule).calibration
    wanted = [0, 0]
    for trace in traces:
        for index, decision in enumerate(trace.decisions):
            right = rule(trace.question, [step.text for step in trace.steps[: index + 1]])[-1]
            wanted[0] += 1
            wanted[1] += right
            assert decision.score is not None
            if not right:
                break
    assert sum(b.count for b in bins) == wanted[0]
    assert sum(b.count * b.right for b in bins) == pytest.approx(wanted[1])
    assert bins[-1].right > 0.9 > 0.5 > bins[0].right
    assert not break_down(traces, {("always-weak", None)}, None).calibration


def test_pictures_are_drawn_also_of_nothing(tmp_path: Path) -> None:
    run = evaluate(tmp_path, POLICIES)
    inside = break_down(record(RandomSteps(0.5), 20), {("random", 0.5)}, rule)
    for figure in (token_costs(inside.points), positions(inside.points), reliability(inside.calibration)):
        assert png(figure).startswith(b"\x89PNG")
    for figure in (token_costs({}), positions({}), reliability([]), latency([]), latency(run.operating_points())):
        assert png(figure).startswith(b"\x89PNG")


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
    wish = f"policy={quote('threshold 0.6')}&beside=always-weak&verdict=better"
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr", "--dump-dom", f"{report.as_uri()}#{wish}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert ":CONSOLE" not in done.stderr
    assert done.stdout.count('<article class="solution">') == len(better) > 0
    assert done.stdout.count('class="pair"') == len(better)
