"""A judge without a model: a logistic regression on what the weak model's server tells with each draft.

Its coefficients are a JSON file, which says what they were fitted on and how good they are known to be. The shipped one
is `generic`: fitted on the log-probabilities that several models gave to steps that people have labelled
(`recipes/real/generic_judge.py`). It makes no request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trim.backends.base import BaseBackend
from trim.errors import BadResponse, ConfigError
from trim.json_files import read_as
from trim.scoring.registry import JudgeSettings
from trim.scoring.step_features import FEATURES
from trim.stats import sigmoid
from trim.steps import StepFormat
from trim.types import Question, Role, Scores, Step

SHIPPED = Path(__file__).with_name("fitted_judges")
GENERIC = "generic"
NO_LOGPROBS = (
    "the weak model's server gives no log-probabilities with its drafts, which this judge scores them by: "
    '[prm] model = "strong" (--judge strong) asks the strong model instead'
)


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


@dataclass(frozen=True)
class FittedModel:
    """The file of a fitted judge.

    Args:
        name: of the judge.
        models: whose log-probabilities it was fitted on, as their servers call them; a judge for others says "*" too.
        intercept: of the logit.
        coefficients: one a feature.
        base: share of right steps in the data: the score of a step without log-probabilities.
        usual: the scores that a tenth of the data's steps is below, and a tenth above.
        measured: how good it is; the first is what the output says.
        date: when it was fitted.
        command: that fitted it.

    Raises:
        ConfigError: it cannot be a judge.
    """

    name: str
    models: tuple[str, ...]
    intercept: float
    coefficients: tuple[Coefficient, ...]
    base: float
    usual: tuple[float, float]
    measured: tuple[Measured, ...]
    date: str
    command: str = ""

    def __post_init__(self) -> None:
        names = [one.feature for one in self.coefficients]
        if unknown := [name for name in names if name not in FEATURES]:
            raise ConfigError(f"judge {self.name}: unknown feature {unknown[0]!r}; there are {', '.join(FEATURES)}")
        if not names or len({*names}) < len(names):
            raise ConfigError(f"judge {self.name}: it needs features, each once")
        if wrong := [one.feature for one in self.coefficients if one.low > one.high]:
            raise ConfigError(f"judge {self.name}: the range of {wrong[0]} ends before it begins")
        for value in (self.base, *self.usual):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"judge {self.name}: base and usual must be in [0, 1], not {value}")

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

    def score(self, step: Step, index: int) -> float | None:
        """P(correct); None: the server does not tell what it takes."""
        logit = self.intercept
        for one in self.coefficients:
            value = FEATURES[one.feature](step, index)
            if value is None:
                return None
            logit += one.weight * min(max(value, one.low), one.high)
        return sigmoid(logit)

    def known(self) -> str:
        """How good it is known to be, and where its scores lie, in words."""
        scores = f"four in five scores lie between {self.usual[0]:.2f} and {self.usual[1]:.2f}"
        if not self.measured:
            return f"not known: its file does not say; {scores}"
        first = self.measured[0]
        interval = f"{first.low:.2f} to {first.high:.2f}"
        return f"step AUROC {first.auroc:.2f} ({interval}; {first.data}; {first.steps} steps; {self.date}); {scores}"

    def for_model(self, model: str) -> bool:
        """Whether it was fitted on this model, by its name without folder and file ending."""
        return _bare(model) in map(_bare, self.models)


def _bare(model: str) -> str:
    return Path(model).name.removesuffix(".gguf").casefold()


def fitted_file(model: str) -> Path:
    """The file of the judge for drafts of this model: one that is shipped for it, else the generic one."""
    for path in sorted(SHIPPED.glob("*.json")):
        if FittedModel.load(path).for_model(model):
            return path
    return SHIPPED / f"{GENERIC}.json"


def file_of(name: str) -> Path:
    """The file that `[prm] model` names: a shipped judge, or a path."""
    shipped = SHIPPED / f"{name}.json"
    return shipped if name.isidentifier() and shipped.is_file() else Path(name)


def identity(name: str) -> str:
    """What results call the judge that `[prm] model` names: its name and the digest of its file.

    Raises:
        ConfigError: the file cannot be read.
    """
    path = file_of(name)
    judge = FittedModel.load(path)
    return f"fitted:{judge.name}@{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


class FittedJudge(BaseBackend):
    """A `StepJudge` from what came with the steps.

    A step of the strong model is scored by that model's own log-probabilities, or, where its server gives none, with
    the base rate. A draft without them is an error.

    Args:
        model: coefficients.
        identity: what results call it.
    """

    def __init__(self, model: FittedModel, identity: str) -> None:
        self.model = model
        self._identity = identity

    @property
    def identity(self) -> str:
        """Name and digest of its file."""
        return self._identity

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """Refuse: text alone has no log-probabilities.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"judge {self.model.name!r} scores steps by what their model's server told with them, and text alone has "
            "none of that: name another judge in [prm] to score given text"
        )

    async def score_steps(self, question: Question, steps: tuple[Step, ...]) -> Scores:
        """P(correct) per step, each by itself; nothing is read.

        Raises:
            BadResponse: a draft came without log-probabilities.
        """
        return Scores(tuple(self._scored(steps)), 0, (0,) * len(steps), rereads=False)

    def _scored(self, steps: Sequence[Step]) -> list[float]:
        scores = []
        for index, step in enumerate(steps):
            score = self.model.score(step, index)
            if score is None and step.role is Role.WEAK:
                raise BadResponse(self.identity, NO_LOGPROBS)
            scores.append(self.model.base if score is None else score)
        return scores


def open_judge(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> FittedJudge:
    """The judge that `[prm]` describes; its `model` is a shipped judge's name or a file.

    Raises:
        ConfigError: the file cannot be read.
    """
    return FittedJudge(FittedModel.load(file_of(settings.model)), identity(settings.model))
