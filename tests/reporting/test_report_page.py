"""The report: what is in it, and that a browser shows it without network or errors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.experiments.test_run import POLICIES, evaluate
from trim.reporting.report_page import write_report

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
