"""`trim report` with two runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.experiments.test_run import POLICIES, evaluate
from trim.cli.main import main


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    evaluate(first, POLICIES)
    evaluate(second, POLICIES)
    assert main(["report", str(first)]) == 0
    assert (first / "report.html").exists()
    assert json.loads((first / "results.json").read_text())["summary"]
    assert main(["report", str(first), str(second)]) == 0
    assert "Significant at the 5% level: nothing." in capsys.readouterr().out
    assert main(["report", str(first), str(second), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["difference"]["mean"] for row in rows} == {0.0}
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err
