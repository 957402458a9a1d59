"""Curves that calibrate scores, on a PRM of known quality."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from trim.errors import ConfigError
from trim.metrics.judge_quality import Judged, calibration_error, labelled_steps
from trim.metrics.score_calibration import Points, fit_curve
from trim.scoring.recalibrated import RecalibratedJudge, RecalibrationCurve
from trim.simulation import SimulatedPrm
from trim.testing import check_judge
from trim.types import Question


@pytest.mark.parametrize("method", ["isotonic", "temperature"])
def test_recalibration_calibrates_scores_and_keeps_their_order(method: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.beta(2, 1, 4000)
    right = (rng.random(4000) < truth).astype(float)
    overconfident = 1 / (1 + ((1 - truth) / truth) ** 3)  # logits three times too large
    fit, rest = Points(overconfident[::2], right[::2]), Points(overconfident[1::2], right[1::2])
    curve = fit_curve(fit, method)  # type: ignore[arg-type]
    calibrated = Points(np.array([curve(score) for score in rest.scores]), rest.right)
    assert calibration_error(rest) > 0.1
    assert calibration_error(calibrated) < 0.04
    assert (np.diff(calibrated.scores[np.argsort(rest.scores)]) >= 0).all()
    curve.save(tmp_path / "curve.json")
    assert RecalibrationCurve.load(tmp_path / "curve.json") == curve
    prm = RecalibratedJudge(SimulatedPrm(0.9), curve)
    asyncio.run(check_judge(prm, Question("q"), ("right 1", "wrong 2", "right 3")))
    plain = asyncio.run(SimulatedPrm(0.9).score(Question("q"), ("right 1",))).values[0]
    assert asyncio.run(prm.score(Question("q"), ("right 1",))).values == (curve(plain),)


def test_curves_that_reverse_scores_are_refused(tmp_path: Path) -> None:
    for x, y in (((), ()), ((0.0, 1.0), (1.0, 0.0)), ((0.5, 0.5), (0.1, 0.2)), ((0.0,), (2.0,)), ((0.0, 1.0), (0.5,))):
        with pytest.raises(ConfigError, match="rising"):
            RecalibrationCurve(x, y)
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(ConfigError, match="not a recalibration curve"):
        RecalibrationCurve.load(tmp_path / "bad.json")
    with pytest.raises(ValueError, match="at least 20"):
        fit_curve(labelled_steps([Judged((0.9, 0.2), 1), Judged((0.9, 0.8), -1)]), "isotonic")
