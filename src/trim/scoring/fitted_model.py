"""The file of a fitted judge: a regression on what came with a step, how good it is, and where its scores lie."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from trim.atomic import write_text
from trim.backends.token_logprobs import TOP
from trim.errors import ConfigError
from trim.json_files import read_as
from trim.scoring.recalibrated import RecalibrationCurve
from trim.scoring.step_features import ENTROPIES, FEATURES, LOGPROBS
from trim.stats import sigmoid
from trim.types import Step

Target = Literal["step", "answer", "agreement"]
"""What a score is the probability of: the step is right; the answer is, if the weak model goes on alone; that answer is
the strong model's."""

_MEANINGS: dict[Target, str] = {
    "step": "the step is right",
    "answer": "the weak model's answer from here is right",
    "agreement": "the weak model's answer from here is the strong model's",
}


@dataclass(frozen=True)
class Coefficient:
    """One feature's part in the logit.

    Args:
        feature: its name in `trim.scoring.step_features`.
        weight: per unit.
        low, high: the range that was fitted on; what lies outside counts as the nearer end.
    """

    feature: str
    weight: float
    low: float
    high: float


@dataclass(frozen=True)
class Regression:
    """A logistic regression.

    Args:
        intercept: of the logit.
        coefficients: one a feature.
        curve: that its probabilities go through, where they had to be calibrated.
    """

    intercept: float
    coefficients: tuple[Coefficient, ...]
    curve: RecalibrationCurve | None = None

    @property
    def features(self) -> frozenset[str]:
        """Those that it uses."""
        return frozenset(one.feature for one in self.coefficients)

    def score(self, step: Step, index: int) -> float | None:
        """The probability for a step at this index of its solution; None: the server does not tell what it takes."""
        logit = self.intercept
        for one in self.coefficients:
            value = FEATURES[one.feature](step, index)
            if value is None:
                return None
            logit += one.weight * min(max(value, one.low), one.high)
        return sigmoid(logit) if self.curve is None else self.curve(sigmoid(logit))

    def check(self, name: str) -> None:
        """Raise for what cannot be scored.

        Raises:
            ConfigError: an unknown feature, none, one twice, or an empty range.
        """
        names = [one.feature for one in self.coefficients]
        if unknown := [feature for feature in names if feature not in FEATURES]:
            raise ConfigError(f"judge {name}: unknown feature {unknown[0]!r}; there are {', '.join(FEATURES)}")
        if not names or len({*names}) < len(names):
            raise ConfigError(f"judge {name}: it needs features, each once")
        if wrong := [one.feature for one in self.coefficients if one.low > one.high]:
            raise ConfigError(f"judge {name}: the range of {wrong[0]} ends before it begins")


@dataclass(frozen=True)
class Measured:
    """How good a judge was on labelled steps that it was not fitted on.

    Args:
        data: which steps, by whom they were labelled, and whose log-probabilities.
        steps, wrong: how many, and how many of them were wrong.
        auroc, low, high: of its scores, with the 95% interval.
        calibration_error: expected difference between a score and the share of right steps.
    """

    data: str
    steps: int
    wrong: int
    auroc: float
    low: float
    high: float
    calibration_error: float

    def __str__(self) -> str:
        return f"AUROC {self.auroc:.2f} ({self.low:.2f} to {self.high:.2f}; {self.data}; {self.steps} steps)"


@dataclass(frozen=True)
class FittedModel:
    """A fitted judge.

    Args:
        name: of the judge.
        models: whose log-probabilities it was fitted on, as their servers call them; a judge for others says "*" too.
        regression: gives the score.
        without_entropy: for servers that do not tell the likeliest tokens; None: there is none.
        base: share of right steps in the data: the score of a step without log-probabilities.
        quantiles: of the scores of the data's steps, from the least to the largest in even parts.
        measured: how good it is; the first is what the output says.
        date: when it was fitted.
        top_logprobs: likeliest tokens that entropies are of; 0: it uses none.
        target: what a score is the probability of.
        command: that fitted it.

    Raises:
        ConfigError: it cannot be a judge.
    """

    name: str
    models: tuple[str, ...]
    regression: Regression
    base: float
    quantiles: tuple[float, ...]
    measured: tuple[Measured, ...]
    date: str
    without_entropy: Regression | None = None
    top_logprobs: int = 0
    target: Target = "step"
    command: str = ""

    def __post_init__(self) -> None:
        self.regression.check(self.name)
        if self.without_entropy is not None:
            self.without_entropy.check(self.name)
            if self.without_entropy.features & ENTROPIES:
                raise ConfigError(f"judge {self.name}: without_entropy has an entropy")
        if self.needs_entropy != bool(self.top_logprobs) or self.top_logprobs not in (0, TOP):
            raise ConfigError(
                f"judge {self.name}: top_logprobs must be {TOP} with entropies and 0 without, not {self.top_logprobs}"
            )
        for value in (self.base, *self.quantiles):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"judge {self.name}: base and quantiles must be in [0, 1], not {value}")
        if len(self.quantiles) < 2 or any(a > b for a, b in pairwise(self.quantiles)):
            raise ConfigError(f"judge {self.name}: quantiles must be two or more that do not fall")

    @classmethod
    def load(cls, path: Path) -> FittedModel:
        """Read a file.

        Raises:
            ConfigError: it cannot be read, or is not a fitted judge.
        """
        try:
            return read_as(cls, path)
        except (OSError, ValueError) as error:
            raise ConfigError.reading(path, "not a fitted judge", error) from None

    def save(self, path: Path) -> None:
        """Write JSON."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")

    @property
    def needs_entropy(self) -> bool:
        """Whether it uses entropies, so that servers are to be asked for the likeliest tokens."""
        return bool(self.regression.features & ENTROPIES)

    @property
    def needs_logprobs(self) -> bool:
        """Whether it uses log-probabilities at all."""
        return bool(self.regression.features & (ENTROPIES | LOGPROBS))

    def score(self, step: Step, index: int) -> float | None:
        """The score of a step at this index; None: the server does not tell what it takes."""
        score = self.regression.score(step, index)
        return self.without_entropy.score(step, index) if score is None and self.without_entropy else score

    def score_at(self, share: float) -> float:
        """The score that this share of the data's steps is below."""
        place = share * (len(self.quantiles) - 1)
        below = min(int(place), len(self.quantiles) - 2)
        first, second = self.quantiles[below : below + 2]
        return first + (place - below) * (second - first)

    def known(self) -> str:
        """What a score is, how good it is known to be, and where scores lie, in words."""
        of = "" if self.target == "step" else f"P({_MEANINGS[self.target]}); "
        scores = f"four in five scores lie between {self.score_at(0.1):.2f} and {self.score_at(0.9):.2f}"
        if not self.measured:
            return f"{of}not known: its file does not say; {scores}"
        return f"{of}step {self.measured[0]}; {self.date}; {scores}"

    def for_model(self, model: str) -> bool:
        """Whether it was fitted on this model, by its name without folder and file ending."""
        return _bare(model) in map(_bare, self.models)


def quantiles_of(scores: Sequence[float], parts: int = 20) -> tuple[float, ...]:
    """Scores as they stand in a judge's file."""
    ordered = sorted(scores)
    places = [round(part * (len(ordered) - 1) / parts) for part in range(parts + 1)]
    return tuple(round(ordered[place], 4) for place in places)


def _bare(model: str) -> str:
    return Path(model).name.removesuffix(".gguf").casefold()
