"""Trainings as the library runs them: what they share, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from trim.cli.main import main


def test_trainings_share_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    few = ["train", "agg", "--source", "embedded", "--episodes", "4", "--batch", "2", "--validation", "2"]
    few += ["--questions", "3", "--record", str(tmp_path / "record"), "--out"]
    assert main([*few, str(tmp_path / "one")]) == 0
    steps = (tmp_path / "record" / "record.jsonl").read_bytes()
    assert main([*few, str(tmp_path / "again")]) == 0
    assert (tmp_path / "record" / "record.jsonl").read_bytes() == steps
    one, again = ((tmp_path / name / "arrays.npz").read_bytes() for name in ("one", "again"))
    assert one == again
    capsys.readouterr()
    assert main([*few, str(tmp_path / "other"), "--seed", "1"]) == 2
    assert "is a record of" in capsys.readouterr().err


def test_without_torch_it_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trim.experiments.policy_training.find_spec", lambda name: None)
    assert main(["train", "agg", "--out", str(tmp_path)]) == 2
    assert "trim-router[train]" in capsys.readouterr().err
