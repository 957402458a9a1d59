"""How good a judge is on solutions whose first wrong step is known, and curves that calibrate its scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from trim import plugins
from trim.config.factory import open_prm
from trim.config.local_models import serving
from trim.config.resolution import resolve
from trim.config.settings import Config, PrmSettings
from trim.errors import ConfigError
from trim.experiments.labelled_solutions import LabelledSolution
from trim.metrics.judge_quality import Judged, calibration_error, labelled_steps
from trim.metrics.score_calibration import Points, fit_curve
from trim.scoring.recalibrated import RecalibrationCurve
from trim.scoring.registry import JUDGES
from trim.types import Question

Method = Literal["isotonic", "temperature"]


async def score_solutions(config: Config, solutions: Sequence[LabelledSolution]) -> list[Judged]:
    """Score one solution after the other with the configured judge, so that the seconds are its own.

    Raises:
        BackendError: the judge failed.
    """
    found = []
    async with serving(resolve(config), judge_only=True):
        prm = open_prm(config)
        try:
            for solution in solutions:
                started = time.perf_counter()
                with plugins.running(f"judge {prm.identity}"):
                    scores = await prm.score(Question(solution.problem), solution.steps)
                found.append(Judged(scores.values, solution.label, time.perf_counter() - started))
        finally:
            await prm.aclose()
    return found


def with_judge(config: Config, text: str) -> Config:
    """The same models with another judge: BACKEND or BACKEND=MODEL, at the address of `[prm]`, with those of its keys
    that the other takes.

    Raises:
        ConfigError: there is no such backend.
    """
    backend, _, model = text.partition("=")
    if backend not in JUDGES:
        raise ConfigError(f"--scorers: no {backend!r}; there are {', '.join(JUDGES)}")
    base_url = "" if backend == "embedded" else config.prm.base_url
    model = model or (config.prm.model if base_url else "")
    family = JUDGES[backend]
    taken = {key: value for key, value in vars(config.prm).items() if family.takes(key, served=bool(base_url))}
    changes = {"backend": backend, "model": model, "base_url": base_url, "recalibration": ""}
    return replace(config, prm=PrmSettings(**taken | changes))


@dataclass(frozen=True)
class Recalibration:
    """A curve, fitted to every other solution, and the calibration error on the rest, before and through it."""

    curve: RecalibrationCurve
    before: float
    after: float


def recalibrate(judged: Sequence[Judged], method: Method) -> Recalibration:
    """Fit a curve to half of the solutions and check it on the other half.

    Raises:
        ValueError: too few labelled steps.
    """
    curve = fit_curve(labelled_steps(judged[::2]), method)
    held_out = labelled_steps(judged[1::2])
    through = Points(np.array([curve(score) for score in held_out.scores]), held_out.right)
    return Recalibration(curve, calibration_error(held_out), calibration_error(through))
