"""A judge without training: how likely a causal model finds the least likely token of a step.

A slip in a step shows as a token that a good model would not have written. The lowest log-probability among the step's
tokens is mapped to [0, 1] by a logistic with two fitted coefficients. One prefill, no decoding.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import ArrayLike

from trim.errors import ConfigError
from trim.scoring.embedded_logprobs import EmbeddedLogprobs
from trim.scoring.logistic_fit import fit_regression
from trim.scoring.prompt_logprobs import LogprobJudge, LogprobSource, open_server
from trim.scoring.registry import JudgeSettings
from trim.stats import sigmoid
from trim.steps import StepFormat
from trim.types import Question, Scores

DEFAULT_LOGISTIC = (1.5, 4.0)  # P = 1/2 where the least likely token has about 7%; fit your own with `fit_logistic`


class LikelihoodJudge(LogprobJudge):
    """A `Judge` from token log-probabilities.

    Args:
        source: gives log-probabilities, see `LogprobSource`; `EmbeddedLogprobs` and `OpenAILogprobs` are some.
        coefficients: (a, b) in P(correct) = 1 / (1 + exp(-(a m + b))), m the lowest log-probability in nats.

    Each step is judged by itself: what the strong model wrote against the judge's expectation does not count against
    all that follows.
    """

    def __init__(self, source: LogprobSource, coefficients: tuple[float, float] = DEFAULT_LOGISTIC) -> None:
        if coefficients[0] <= 0:
            raise ConfigError(f"the slope must be positive, likelier text scores higher: {coefficients}")
        super().__init__("likelihood", source)
        self.coefficients = coefficients

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """P(correct) per step. `Scores.tokens` are those of the steps."""
        logprobs = await self.logprobs(question, steps)
        a, b = self.coefficients
        return self.scores((sigmoid(a * min(step) + b) for step in logprobs), map(len, logprobs))


def fit_logistic(values: ArrayLike, labels: ArrayLike, *, ridge: float = 1e-3) -> tuple[float, float]:
    """Coefficients (a, b) of P(label) = 1 / (1 + exp(-(a value + b))) by Newton's method with a line search.

    Args:
        values: [n] lowest log-probabilities of steps.
        labels: [n] of 0 and 1: whether the step, and all before it, are correct.
        ridge: weight of a^2, which keeps the slope finite where the labels can be separated.

    Raises:
        ConfigError: the lengths differ, or all labels are the same.
    """
    x = np.asarray(values, float)
    if x.ndim != 1:
        raise ConfigError(f"{x.shape} values for {np.shape(labels)} labels")
    weights, intercept = fit_regression(x[:, None], labels, ridge=ridge)
    return float(weights[0]), intercept


def open_embedded(model: str = "judge") -> LikelihoodJudge:
    """A judge over a shipped model, or one in a folder; its coefficients lie there (`logistic.json`: {"a": ..., "b":
    ...}).

    Raises:
        ConfigError: there is no such model, or its coefficients cannot be read.
    """
    source = EmbeddedLogprobs(model)
    file = source.engine.folder / "logistic.json"
    if not file.is_file():
        return LikelihoodJudge(source)
    try:
        fitted = json.loads(file.read_text("utf-8"))
        return LikelihoodJudge(source, (float(fitted["a"]), float(fitted["b"])))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError.reading(file, "not the coefficients of a judge", error) from None


def open_judge(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> LikelihoodJudge:
    """The judge that `[prm]` describes: over a server's model or, without an address, an embedded one.

    Raises:
        ConfigError: there is no such model or template.
    """
    if not settings.base_url:
        return open_embedded(settings.model)
    return LikelihoodJudge(open_server(settings, api_key, step_format))
