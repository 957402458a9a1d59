"""Fits a judge to labelled steps: a regularised logistic regression, calibrated, measured on questions left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from trim.backends.token_logprobs import TOP
from trim.errors import ConfigError
from trim.experiments.judge_examples import Examples
from trim.metrics.judge_quality import auroc, calibration_error
from trim.metrics.score_calibration import Points, fit_curve
from trim.scoring.fitted_model import Coefficient, FittedModel, Measured, Regression, quantiles_of
from trim.scoring.logistic_fit import fit_regression
from trim.scoring.recalibrated import RecalibrationCurve
from trim.scoring.step_features import ENTROPIES, FEATURES
from trim.stats import Estimate, FloatArray, Indices, bootstrap, sigmoids

_FOLDS = 5
_RIDGE = 0.02  # of each step; keeps few labels from making large weights
_FEWEST = 20  # steps of each kind, and questions
_OUTER = 0.005  # share of values at each end that weights do not reach beyond
_DRAWS = 1_000
_MISSING = 0.1  # share of steps that may lack a feature
_EQUATIONS = "false_equations"


@dataclass(frozen=True)
class Quality:
    """How good scores of questions are that the judge was not fitted on."""

    auroc: Estimate
    calibration_error: float

    @property
    def is_coin(self) -> bool:
        """Whether one half is in the interval of the AUROC, or above it."""
        return not self.auroc.low > 0.5

    def __str__(self) -> str:
        found = self.auroc
        interval = f"{found.low:.3f} to {found.high:.3f}"
        return f"AUROC {found.value:.3f} ({interval}), calibration error {self.calibration_error:.3f}"


@dataclass(frozen=True)
class JudgeFit:
    """A fitted judge with its figures.

    Args:
        judge: to be saved.
        quality: of its scores.
        compared: of other choices of features, in words.
        equations_pay: whether the equations that a step states are among its features; None: none is false.
    """

    judge: FittedModel
    quality: Quality
    compared: dict[str, Quality]
    equations_pay: bool | None


@dataclass(frozen=True)
class _Data:
    """Features (N, d), labels of 0 and 1 (N,), and the question of each step by number (N,), with their folds."""

    x: FloatArray
    right: FloatArray
    question: Indices
    fold: Indices
    names: tuple[str, ...]

    def of(self, chosen: NDArray[np.bool_] | Indices, names: Sequence[str]) -> _Data:
        """Some rows and some features."""
        columns = [self.names.index(name) for name in names]
        x = self.x[chosen][:, columns]
        return _Data(x, self.right[chosen], self.question[chosen], self.fold[chosen], tuple(names))


def fit_judge(examples: Examples, *, name: str, models: Sequence[str], data: str, date: str, command: str) -> JudgeFit:
    """Fit one.

    Args:
        examples: labelled steps.
        name: of the judge.
        models: whose steps they are.
        data: what they are, for the judge's file.
        date: of today.
        command: that fits it.

    Raises:
        ConfigError: too few questions or labels of one kind, or the steps have no log-probabilities.
    """
    whole, names = _usable(_data(examples))
    plain = tuple(each for each in names if each not in ENTROPIES)
    choices = {"": names}
    if _EQUATIONS in names:
        choices["without false equations"] = tuple(each for each in names if each != _EQUATIONS)
    if plain != names:
        choices["without entropy"] = plain
    choices["length and position alone"] = ("log_tokens", "log_position")
    scored = {words: _held_out(whole, chosen) for words, chosen in choices.items()}
    pays: bool | None = None
    if _EQUATIONS in names:
        pays = _loss(scored[""], whole.right) < _loss(scored["without false equations"], whole.right)
        if not pays:
            names, plain = (tuple(each for each in some if each != _EQUATIONS) for some in (names, plain))
            scored["with false equations"] = scored.pop("")
            scored[""] = scored.pop("without false equations")
    found = {words: _quality(scores, whole) for words, scores in scored.items()}
    quality = found.pop("")
    regression = _calibrated(whole, names)
    entropic = bool(set(names) & ENTROPIES)
    figures = {data: quality} | ({f"{data}, without entropy": found["without entropy"]} if entropic else {})
    judge = FittedModel(
        name=name,
        models=tuple(models),
        regression=regression,
        base=round(float(whole.right.mean()), 4),
        quantiles=quantiles_of(_scores(regression, whole).tolist()),
        measured=tuple(_measured(words, each, whole) for words, each in figures.items()),
        date=date,
        without_entropy=_calibrated(whole, plain) if entropic else None,
        top_logprobs=TOP if entropic else 0,
        target=examples.target,
        command=command,
    )
    return JudgeFit(judge, quality, found, pays)


def _data(examples: Examples) -> _Data:
    rows = [[_number(feature(one.step, one.index)) for feature in FEATURES.values()] for one in examples.steps]
    right = np.array([float(one.right) for one in examples.steps])
    questions, numbers = np.unique([one.question for one in examples.steps], return_inverse=True)
    fewest = min(int(right.sum()), int((1 - right).sum()), len(questions))
    if fewest < _FEWEST:
        raise ConfigError(
            f"{int(right.sum())} right and {int((1 - right).sum())} wrong steps of {len(questions)} questions are too "
            f"few to fit a judge: at least {_FEWEST} of each are needed; record more questions, or more --samples of "
            "each"
        )
    folds = np.array([blake2b(str(question).encode(), digest_size=4).digest()[0] % _FOLDS for question in questions])
    return _Data(np.array(rows, float), right, numbers, folds[numbers], tuple(FEATURES))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _usable(data: _Data) -> tuple[_Data, tuple[str, ...]]:
    """The features that steps have and in which they differ, and the steps that have them: a few may lack some."""
    common = np.isnan(data.x).mean(axis=0) <= _MISSING
    if not common[data.names.index("logprob")]:
        raise ConfigError(
            "steps of the traces have no log-probabilities: record them with a judge that asks for these, trim eval "
            "--policies always-weak --judge fitted, and a weak model whose server gives them (docs/reference/kinds.md)"
        )
    whole = data.of(np.asarray(~np.isnan(data.x[:, common]).any(axis=1), bool), data.names)
    varied = common & (np.ptp(whole.x, axis=0) > 0)
    return whole, tuple(name for name, used in zip(data.names, varied, strict=True) if used)


def _plain_fit(data: _Data) -> Regression:
    """Coefficients for these rows."""
    low, high = np.quantile(data.x, _OUTER, axis=0), np.quantile(data.x, 1 - _OUTER, axis=0)
    weights, intercept = fit_regression(np.clip(data.x, low, high), data.right, ridge=_RIDGE)
    numbers = zip(data.names, *(np.round(each, 5).tolist() for each in (weights, low, high)), strict=True)
    return Regression(round(intercept, 5), tuple(Coefficient(*each) for each in numbers))


def _calibrated(whole: _Data, names: Sequence[str]) -> Regression:
    """Coefficients with a rising curve behind them, which is fitted on scores of questions left out."""
    data = whole.of(np.arange(len(whole.right)), names)
    regression = _plain_fit(data)
    scores = _crossed(data, _plain_fit)
    curve = fit_curve(Points(scores, data.right), "isotonic")
    inner = RecalibrationCurve(tuple(round(x, 6) for x in curve.x), tuple(round(y, 6) for y in curve.y))
    # To both corners, so that the order of scores beyond the ends of the curve is kept.
    x, y = (0.0, *inner.x, 1.0), (0.0, *inner.y, 1.0)
    return Regression(regression.intercept, regression.coefficients, RecalibrationCurve(x, y))


def _held_out(whole: _Data, names: Sequence[str]) -> FloatArray:
    """Each step's score by a calibrated judge that was fitted without its question."""
    data = whole.of(np.arange(len(whole.right)), names)
    return _crossed(data, lambda rows: _calibrated(rows, names))


def _crossed(data: _Data, fit: Callable[[_Data], Regression]) -> FloatArray:
    scores = np.zeros(len(data.right))
    for fold in np.unique(data.fold):
        inside = data.fold == fold
        scores[inside] = _scores(fit(data.of(~inside, data.names)), data.of(inside, data.names))
    return scores


def _scores(regression: Regression, data: _Data) -> FloatArray:
    """What a judge says of all rows at once; the same as `Regression.score` of each."""
    logits = np.full(len(data.right), regression.intercept)
    for one in regression.coefficients:
        logits += one.weight * np.clip(data.x[:, data.names.index(one.feature)], one.low, one.high)
    chances = sigmoids(np.clip(logits, -500, 500))
    curve = regression.curve
    return chances if curve is None else np.interp(chances, curve.x, curve.y)


def _loss(scores: FloatArray, right: FloatArray) -> float:
    """Mean negative log-likelihood."""
    chances = np.clip(scores, 1e-6, 1 - 1e-6)
    return float(-(right * np.log(chances) + (1 - right) * np.log(1 - chances)).mean())


def _quality(scores: FloatArray, data: _Data) -> Quality:
    """The interval is over questions."""
    count = int(data.question.max()) + 1

    def ranking(chosen: Indices) -> float:
        return auroc(scores, data.right, np.bincount(chosen, minlength=count)[data.question])

    found = bootstrap(ranking, count, draws=_DRAWS, count=len(scores))
    return Quality(found, calibration_error(Points(scores, data.right)))


def _measured(words: str, quality: Quality, data: _Data) -> Measured:
    found = quality.auroc
    numbers = (round(each, 3) for each in (found.value, found.low, found.high, quality.calibration_error))
    return Measured(words, len(data.right), int((1 - data.right).sum()), *numbers)
