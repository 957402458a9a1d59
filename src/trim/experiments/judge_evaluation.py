"""How good a judge is on solutions whose first wrong step is known, and curves that calibrate its scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from trim import plugins
from trim.backends.token_counts import size
from trim.config.factory import open_prm
from trim.config.judge_names import ASKING
from trim.config.local_models import serving
from trim.config.resolution import resolve
from trim.config.settings import Config, PriceSettings, PrmSettings
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.experiments.labelled_solutions import LabelledSolution
from trim.experiments.metered_models import metered_judge
from trim.experiments.preview import Preview
from trim.experiments.run import Progress
from trim.experiments.spend_limit import SpendLimit
from trim.metrics.judge_quality import Judged, calibration_error, labelled_steps
from trim.metrics.score_calibration import Points, fit_curve
from trim.routing.cost_bounds import cost_of
from trim.scoring.recalibrated import RecalibrationCurve
from trim.scoring.registry import JUDGES
from trim.types import Price, Prices, Question

Method = Literal["isotonic", "temperature"]
_BYTES = 4.0  # of a token, about


async def score_solutions(
    config: Config,
    solutions: Sequence[LabelledSolution],
    *,
    limit: SpendLimit | None = None,
    progress: Progress = lambda name: None,
) -> list[Judged]:
    """Score one solution after the other with the configured judge, so that the seconds are its own.

    Args:
        config: has the judge.
        solutions: to score.
        limit: on what that may cost.
        progress: told of every solution.

    Raises:
        BackendError: the judge failed.
        SpendReached: the limit leaves nothing for another solution.
    """
    found, spec = [], resolve(config)
    async with serving(spec, judge_only=True):
        prm = open_prm(config)
        prm = prm if limit is None else metered_judge(prm, spec.prices.prm, spec, limit)
        try:
            for solution in solutions:
                started = time.perf_counter()
                with plugins.running(f"judge {prm.identity}"):
                    scores = await prm.score(Question(solution.problem), solution.steps)
                found.append(Judged(scores.values, solution.label, time.perf_counter() - started))
                progress(prm.identity)
        finally:
            await prm.aclose()
    return found


def judge_prices(config: Config) -> Prices:
    """Those of a judge by itself: the other models are not asked."""
    return Prices(Price(0.0, 0.0), Price(0.0, 0.0), resolve(config).prices.prm)


def judging_preview(configs: Sequence[Config], solutions: Sequence[LabelledSolution]) -> Preview:
    """What scoring solutions takes, by the length of their texts: no model is asked. A judge reads a solution once, or,
    where it is asked in words, up to each step.
    """
    calls, cost, unpriced = 0, 0.0, ""
    for spec in map(resolve, configs):
        for solution in solutions:
            sizes = [size(step) for step in solution.steps]
            asked = spec.judge.backend in ASKING
            read = [sum(sizes[: index + 1]) for index in range(len(sizes))] if asked else [sum(sizes)]
            calls += len(read)
            tokens = sum(size(solution.problem) + text for text in read) / _BYTES
            cost += cost_of(spec.prices.prm, prompt=tokens)
        if spec.prices.prm.prompt is None:
            unpriced = unpriced or "[prm.prices] prompt"
    names = tuple(f"judge: {identities(config)['prm']}" for config in configs)
    parts = f"{len(configs)} judge{'s' if len(configs) > 1 else ''} x {len(solutions):,} solutions"
    return Preview(
        "scored solutions",
        len(configs),
        len(solutions),
        1,
        0,
        names,
        unpriced,
        calls=calls,
        cost=None if unpriced else cost,
        parts=parts,
    )


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
    each = vars(config.prm.prices).items()
    prices = {key: value for key, value in each if family.takes(f"prices.{key}", served=bool(base_url))}
    changes = {"backend": backend, "model": model, "base_url": base_url, "recalibration": ""}
    return replace(config, prm=PrmSettings(**taken | changes, prices=PriceSettings(**prices)))


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
