"""A judge without a model: a logistic regression on what the weak model's server tells with each draft.

Its coefficients are a JSON file (`trim.scoring.fitted_model`), which says what they were fitted on and how good they
are known to be; `trim fit judge` writes one. The shipped one is `generic`: fitted on the log-probabilities that models
gave to steps that people have labelled (`recipes/real/generic_judge.py`). It makes no request.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from trim.backends.base import BaseBackend
from trim.errors import BadResponse, ConfigError
from trim.scoring.fitted_model import FittedModel
from trim.scoring.registry import JudgeSettings
from trim.steps import StepFormat
from trim.types import Question, Role, Scores, Step

logger = logging.getLogger("trim.scoring")

SHIPPED = Path(__file__).with_name("fitted_judges")
KIND = "fitted"
GENERIC = "generic"
NO_ENTROPY = (
    "the weak model's server does not tell the likeliest tokens beside each that it writes: this judge scores drafts "
    "without their entropy, which it is made for"
)
NO_LOGPROBS = (
    "the weak model's server gives no log-probabilities with its drafts, which this judge scores them by: "
    '[prm] model = "strong" (--judge strong) asks the strong model instead'
)


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


def fitted_model(backend: str, model: str) -> FittedModel | None:
    """The file of the judge that these keys of `[prm]` describe; None: it is another kind.

    Raises:
        ConfigError: the file cannot be read.
    """
    return FittedModel.load(file_of(model)) if backend == KIND else None


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
        self._told = False  # that entropies are missing

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
                raise BadResponse(self.identity, NO_LOGPROBS if step.logprob is None else f"{NO_ENTROPY}, and cannot")
            if step.role is Role.WEAK and self.model.needs_entropy and step.mean_entropy is None and not self._told:
                self._told = True
                logger.warning("%s: %s", self.identity, NO_ENTROPY)
            scores.append(self.model.base if score is None else score)
        return scores


def open_judge(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> FittedJudge:
    """The judge that `[prm]` describes; its `model` is a shipped judge's name or a file.

    Raises:
        ConfigError: the file cannot be read.
    """
    return FittedJudge(FittedModel.load(file_of(settings.model)), identity(settings.model))
