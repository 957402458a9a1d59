"""`trim record`, and `trim eval` on what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trim.cli.main import main


def test_recording_and_replaying_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record, out = tmp_path / "record", tmp_path / "out"
    assert (
        main(["record", "--task", "arithmetic_chain:easy", "--questions", "3", "--samples", "2", "--out", str(record)])
        == 0
    )
    assert "steps and scores of 3 questions" in capsys.readouterr().out
    policies = "always-weak,always-strong,threshold,prm-cascade,random-query,oracle-query"
    command = ["eval", "--replay", str(record), "--policies", policies, "--out", str(out), "--json"]
    assert main([*command, "--parameters", "threshold=0.3,0.77"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["task"], results["questions"]) == ("arithmetic_chain:easy", 3)
    assert {p["policy"] for p in results["operating_points"]} == set(policies.split(","))
    assert results["samples"] == 2
    assert len((out / "traces.jsonl").read_text().splitlines()) == 3 * 2 * len(results["operating_points"])
    assert main([*command[:-2], str(tmp_path / "more"), "--samples", "3"]) == 2
    assert "is a record of --samples 2" in capsys.readouterr().err


def test_a_record_stops_before_its_limit_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["record", "--questions", "6", "--out", str(tmp_path / "r")]
    assert main([*command, "--dry-run"]) == 0
    assert "would make 6 recorded questions" in capsys.readouterr().out
    assert not (tmp_path / "r").exists()
    assert main([*command, "--max-cost", "0.0008", "--quiet"]) == 2
    assert "stopped by --max-cost 0.0008 at $0.0" in capsys.readouterr().err
    assert main([*command, "--max-cost", "1", "--quiet"]) == 0
