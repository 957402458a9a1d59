"""Readiness asks every backend, whatever stands in front of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.gateway import PRM, STRONG, WEAK, Served, serving, simulated
from trim.config.factory import open_prm
from trim.config.settings import Config, PrmSettings
from trim.scoring.recalibrated import RecalibratedJudge, RecalibrationCurve

DEAD = "http://127.0.0.1:9/v1"
JUDGES = {
    "vllm": PrmSettings(backend="vllm", base_url="http://127.0.0.1:9", model="m", retries=0),
    "likelihood": PrmSettings(backend="likelihood", base_url=DEAD, model="m", template="trim", retries=0),
    "entropy": PrmSettings(backend="entropy", base_url=DEAD, model="m", template="trim", retries=0),
    "yes-no": PrmSettings(backend="yes-no", base_url=DEAD, model="m", retries=0),
}


def readiness(served: Served) -> tuple[int, str]:
    answer = served.get("/readyz")
    return answer.status_code, answer.json()["backends"]["prm"]


@pytest.mark.parametrize("recalibrated", [False, True])
@pytest.mark.parametrize("kind", JUDGES)
def test_a_dead_judge_is_not_ready(kind: str, recalibrated: bool, tmp_path: Path) -> None:
    curve = tmp_path / "curve.json"
    RecalibrationCurve((0.0, 1.0), (0.1, 0.9)).save(curve)
    settings = replace(JUDGES[kind], recalibration=str(curve) if recalibrated else "")
    with serving(simulated(WEAK, STRONG, open_prm(Config(prm=settings)))) as served:
        code, problem = readiness(served)
    assert code == 503
    assert "127.0.0.1:9" in problem
    assert "cannot be reached" in problem


def test_a_judge_in_this_process_is_ready_behind_a_curve_too() -> None:
    curve = RecalibrationCurve((0.0, 1.0), (0.1, 0.9))
    with serving(simulated(WEAK, STRONG, RecalibratedJudge(PRM, curve))) as served:
        assert readiness(served) == (200, "ok")
