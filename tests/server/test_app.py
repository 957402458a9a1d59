"""Routes other than completions, readiness, and stopping."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.server.gateway import PRM, STRONG, WEAK, Served, ask, serving, simulated
from trim.config.factory import open_prm
from trim.config.settings import Config, PrmSettings
from trim.scoring.recalibrated import RecalibratedJudge, RecalibrationCurve


def test_other_paths(served: Served) -> None:
    assert served.get("/v1/chat/completions").json()["error"]["code"] == "method_not_allowed"
    assert served.get("/v2").json()["error"]["code"] == "not_found"
    assert served.get("/v1/models/gpt-5").status_code == 404
    assert [model["id"] for model in served.get("/v1/models").json()["data"]][:3] == [
        "trim",
        "trim-weak",
        "trim-strong",
    ]
    assert served.get("/healthz").json()["status"] == "ok"
    assert served.get("/readyz").json() == {"ready": True, "backends": dict.fromkeys(("weak", "strong", "prm"), "ok")}


SLOW = replace(WEAK, token_seconds=0.001, block=10)  # 40 ms a step


def test_a_stop_lets_streams_finish() -> None:
    with ThreadPoolExecutor(1) as pool:
        with serving(simulated(SLOW)) as served:
            url, body = f"{served.url}/v1/chat/completions", ask("hard 7", stream=True, seed=5)
            answer = pool.submit(httpx.post, url, json=body, timeout=30)
            while not served.gateway.admission.running:
                time.sleep(0.005)
        # the server was told to stop while the stream was open
        assert answer.result().text.endswith("data: [DONE]\n\n")


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
