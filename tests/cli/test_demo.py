"""`trim demo` as a user runs it, on few questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trim.cli.main import main


def test_the_demo_shows_a_problem_and_an_evaluation_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--questions", "2", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "One problem." in out
    assert "steps by the strong model" in out
    assert str(tmp_path / "report.html") in out.replace("\n", "")
    points = json.loads((tmp_path / "results.json").read_text())["operating_points"]
    assert [point["policy"] for point in points] == [
        "always-weak",
        "always-strong",
        *["random"] * 3,
        *["threshold"] * 4,
    ]
    lines = (tmp_path / "traces.jsonl").read_text()
    assert main(["demo", "--questions", "2", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "traces.jsonl").read_text() == lines


def test_a_dry_run_asks_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--questions", "2", "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "would make 18 solutions (0 are there): 9 operating points x 2 questions" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
