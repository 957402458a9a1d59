"""`trim config check --probe` finds servers that are down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.backends.fake_server import serving
from trim.cli.main import main
from trim.scoring.recalibrated import RecalibrationCurve

DEAD = "base_url = 'http://127.0.0.1:9/v1'\nmodel = 'm'\nretries = 0\n"


@pytest.mark.parametrize("backend", ["vllm", "likelihood", "log-probability", "typed"])
@pytest.mark.parametrize("recalibrated", [False, True])
def test_a_dead_judge_is_found(
    backend: str, recalibrated: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, curve = tmp_path / "trim.toml", tmp_path / "curve.json"
    RecalibrationCurve((0.0, 1.0), (0.1, 0.9)).save(curve)
    config.write_text(
        f"[prm]\nbackend = '{backend}'\n{DEAD}" + (f"recalibration = '{curve}'\n" if recalibrated else "")
    )
    assert main(["config", "check", str(config), "--probe"]) == 2
    printed = capsys.readouterr()
    assert "weak  ok: embedded:weak@" in printed.out
    assert "prm  FAILED: " in printed.out
    assert "127.0.0.1:9" in printed.out
    assert "not every backend can be used" in printed.err


def _served(url: str, judge: str = "vllm") -> str:
    model = f"base_url = '{url}/v1'\nmodel = 'm'\nretries = 0\ntemplate = 'trim'\n"
    return f"[weak]\nbackend = 'vllm'\n{model}[strong]\nbackend = 'vllm'\n{model}[prm]\nbackend = '{judge}'\n{model}"


@pytest.mark.parametrize("judge", ["vllm", "likelihood", "log-probability"])
def test_every_role_is_tried(judge: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "trim.toml"
    with serving() as habits:
        config.write_text(_served(habits.url, judge))
        assert main(["config", "check", str(config), "--probe"]) == 0
        printed = capsys.readouterr().out
        assert all(f"{role}  ok: " in printed for role in ("weak", "strong", "prm"))
        assert "a right step 0." in printed
        assert all(len(line) < 80 for line in printed.splitlines() if line.startswith(" " * 8))
        assert main(["config", "check", str(config), "--probe", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["probes"]["weak"]["token_counts"] == "running"
        assert told["probes"]["prm"]["ok"] and len(told["probes"]["prm"]["order"]) == 2
        assert main(["config", "check", str(config), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["probes"] == {}


@pytest.mark.parametrize("told", [True, False])
def test_without_a_judge_log_probabilities_are_tried(
    told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "trim.toml"
    with serving(logprobs=told) as habits:
        config.write_text(_served(habits.url).partition("[prm]")[0])
        assert main(["config", "check", str(config), "--probe"]) == (0 if told else 2)
    printed = capsys.readouterr().out
    assert (
        "judge: generic, a regression on the log-probabilities of drafts (no [prm])\n  quality: step AUROC" in printed
    )
    assert "per step: no further call" in printed
    assert ("prm  ok: fitted:generic@" in printed) == told
    assert ("prm  FAILED" in printed and "--judge strong" in printed) != told


def test_a_judge_that_finds_everything_right_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "trim.toml"
    with serving(pooling=[[0.1, 0.9]]) as habits:
        config.write_text(_served(habits.url))
        assert main(["config", "check", str(config), "--probe", "--json"]) == 2
        printed = capsys.readouterr()
        told = json.loads(printed.out)["probes"]
        assert [told[role]["ok"] for role in ("weak", "strong", "prm")] == [True, True, False]
        assert "the shipped" not in told["prm"]["problem"]
        assert printed.err.startswith("trim: ")
        assert "prm" in printed.err
