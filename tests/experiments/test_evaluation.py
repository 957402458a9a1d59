"""Evaluations: what they keep, and what they do not ask for twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.policies.learned.networks_made import made_up
from trim.backends.replay_cache import FILE
from trim.cli.main import main
from trim.policies.artifacts import Models, Provenance


def test_a_run_keeps_its_policy(tmp_path: Path) -> None:
    from trim.experiments.evaluation import keep_policies

    made_up("agg").save(tmp_path / "agg", Provenance(Models("a", "b", "c"), "t", "2026-11-25", 1))
    (tmp_path / "run").mkdir()
    keep_policies(("threshold", f"agg={tmp_path / 'agg'}"), tmp_path / "run")
    assert (tmp_path / "run" / "agg" / "arrays.npz").exists()


def test_an_evaluation_requests_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "record"
    command = ["eval", "--task", "gsm_symbolic", "--questions", "6", "--policies", "threshold,random", "--json"]
    command += ["--parameters", "threshold=0.3,0.6", "--parameters", "random=0.4", "--out"]

    def points(out: str, *more: str) -> list[list[object]]:
        assert main([*command, str(tmp_path / out), *more]) == 0
        found = json.loads(capsys.readouterr().out)["operating_points"]
        return [[point[key] for key in ("policy", "parameter", "accuracy", "strong_tokens")] for point in found]

    first = points("first", "--record", str(record))
    steps = (record / FILE).read_text().splitlines()
    assert len(steps) == len({json.loads(line)["key"] for line in steps})
    for again in (points("second", "--record", str(record)), points("third", "--replay", str(record)), points("live")):
        assert again == first
    assert (record / FILE).read_text().splitlines() == steps
    assert main([*command, str(tmp_path / "fourth"), "--record", str(record), "--seed", "3"]) == 2
    assert "is a record of" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "fifth"), "--record", str(record), "--engine", "ray"]) == 2
