"""`trim config check --probe` finds servers that are down."""

from __future__ import annotations

from pathlib import Path

import pytest

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
