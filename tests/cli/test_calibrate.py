"""`trim calibrate`, and calibrated policies in use."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.cli.process import QUESTION
from trim.cli.main import main
from trim.config.loading import load_config
from trim.config.policy import open_policy, open_sweep
from trim.config.settings import Config
from trim.config.specs import identities
from trim.policies import Threshold
from trim.policies.pomdp import PomdpPolicy


def test_calibrate_writes_a_parameter(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "threshold.json"
    command = ["calibrate", "--policy", "threshold", "--traces", str(run), "--strong-share", "0.2", "--out", str(out)]
    assert main(command) == 0
    assert f"--policy {out}, which is threshold at 0." in capsys.readouterr().out
    values = json.loads(out.read_text())
    assert values["low"] <= values["parameter"] <= values["high"]
    assert values["expected"]["strong_share"] == pytest.approx(0.2)
    assert values["held_out"]["questions"] == 75
    assert values["provenance"]["models"] == identities(Config())
    assert main(["solve", QUESTION, "--json", "--policy", str(out)]) == 0
    trace = json.loads(capsys.readouterr().out)
    assert (trace["policy"], trace["parameter"]) == ("threshold", values["parameter"])
    config = tmp_path / "trim.toml"
    config.write_text(f"[policy]\nname = '{out}'\n")
    assert open_policy(load_config(config)) == Threshold(values["parameter"])
    assert [policy.parameter for policy in open_sweep(Config(), str(out))] == [values["parameter"]]


def test_a_calibrated_fit_brings_its_folder(run: Path, fitted: Path, tmp_path: Path) -> None:
    out = tmp_path / "price.json"
    provenance = {"models": identities(Config()), "task": "t", "date": "2026-11-28", "questions": 1}
    values = {"schema": 1, "kind": "calibration", "policy": "pomdp", "parameter": 0.004, "folder": str(fitted)}
    out.write_text(json.dumps({**values, "provenance": provenance}))
    policy = open_policy(Config(), str(out))
    assert isinstance(policy, PomdpPolicy)
    assert policy.price == 0.004


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["calibrate", "--policy", "best", "--traces", "RUN", "--cost", "1", "--out", "x"], "unknown policy 'best'"),
        (
            ["calibrate", "--policy", "threshold", "--traces", "absent", "--cost", "1", "--out", "x"],
            "absent: there is no such folder",
        ),
        (["calibrate", "--policy", "random", "--traces", "RUN", "--accuracy", "1", "--out", "x"], "out of reach"),
        (["calibrate", "--policy", "pomdp=FIT", "--traces", "foreign", "--cost", "1", "--out", "x"], "was made for"),
    ],
)
def test_calibrations_that_cannot_be_made_get_one_sentence(
    arguments: list[str], sentence: str, refused: Callable[[Sequence[str]], str]
) -> None:
    assert sentence in refused(arguments)
