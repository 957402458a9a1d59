"""A process reward model for people without one: how likely a causal model finds the least likely token of a step.

A slip in a step shows as a token that a good model would not have written. The lowest log-probability among the step's
tokens is mapped to [0, 1] by a logistic with two fitted coefficients. One prefill, no decoding.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from trim.backends.client import Probe, Server, TokenCounter
from trim.errors import BackendError, BadResponse, ConfigError
from trim.prompts import ChatTemplate, load_template
from trim.steps import StepFormat
from trim.types import Question, Scores

_TOP = 20  # likeliest tokens that a server is asked for; vLLM's default maximum
DEFAULT_LOGISTIC = (1.5, 4.0)  # P = 1/2 where the least likely token has about 7%; fit your own with `fit_logistic`


class LogprobSource(Protocol):
    """A causal model that says how likely each token of given steps is."""

    async def step_logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Natural log-probabilities of each step's tokens given everything before them, separators left out."""
        ...


class LikelihoodScorer:
    """A `ProcessRewardModel` from token log-probabilities.

    Args:
        source: gives log-probabilities, see `LogprobSource`; `EmbeddedJudge` and `OpenAILogprobs` are some.
        coefficients: (a, b) in P(correct) = 1 / (1 + exp(-(a m + b))), m the lowest log-probability in nats.
        running: take the minimum over earlier steps too. False judges each step by itself: what the strong model wrote
            against the judge's expectation does not count against all that follows.
    """

    def __init__(
        self,
        source: LogprobSource,
        coefficients: tuple[float, float] = DEFAULT_LOGISTIC,
        *,
        running: bool = False,
    ) -> None:
        if coefficients[0] <= 0:
            raise ConfigError(f"the slope must be positive, likelier text scores higher: {coefficients}")
        self.source = source
        self.coefficients = coefficients
        self.running = running

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """P(correct) per step. `Scores.tokens` are those of the steps."""
        logprobs = await self.source.step_logprobs(question, steps)
        if len(logprobs) != len(steps):
            raise BadResponse("likelihood scorer", f"log-probabilities of {len(logprobs)} steps for {len(steps)}")
        a, b = self.coefficients
        lows = running_minimum(logprobs) if self.running else tuple(min(step, default=0.0) for step in logprobs)
        values = tuple(_logistic(a * low + b) for low in lows)
        return Scores(values, sum(map(len, logprobs)))

    async def probe(self) -> Probe:
        """What the source's server can do."""
        probe = getattr(self.source, "probe", None)
        return await probe() if probe is not None else Probe("likelihood scorer", True)

    async def aclose(self) -> None:
        """Close the source."""
        if (close := getattr(self.source, "aclose", None)) is not None:
            await close()


def running_minimum(logprobs: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The lowest log-probability among the tokens of all steps up to each; one without tokens changes nothing."""
    lowest, result = 0.0, []
    for step in logprobs:
        lowest = min([lowest, *step])
        result.append(lowest)
    return tuple(result)


def fit_logistic(values: ArrayLike, labels: ArrayLike, *, ridge: float = 1e-3) -> tuple[float, float]:
    """Coefficients (a, b) of P(label) = 1 / (1 + exp(-(a value + b))) by Newton's method with a line search.

    Args:
        values: [n] running minima.
        labels: [n] of 0 and 1: whether the step, and all before it, are correct.
        ridge: weight of a^2, which keeps the slope finite where the labels can be separated.

    Raises:
        ConfigError: the lengths differ, or all labels are the same.
    """
    x, y = np.asarray(values, float), np.asarray(labels, float)
    if x.shape != y.shape or x.ndim != 1:
        raise ConfigError(f"{x.shape} values for {y.shape} labels")
    if not 0.0 < y.mean() < 1.0:
        raise ConfigError("labels of both kinds are needed")
    centre, scale = x.mean(), x.std() or 1.0
    design = np.stack([(x - centre) / scale, np.ones_like(x)], axis=1)
    penalty = np.diag([ridge * len(x), 0.0])
    weights = np.array([0.0, np.log(y.mean() / (1.0 - y.mean()))])

    def loss(weights: np.ndarray) -> float:
        logits = design @ weights
        return float((np.logaddexp(0.0, logits) - y * logits).sum() + weights @ penalty @ weights / 2)

    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30.0, 30.0)))
        gradient = design.T @ (p - y) + penalty @ weights
        hessian = (design * (p * (1.0 - p))[:, None]).T @ design + penalty + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        if np.abs(step).max() < 1e-8:
            break
        # Where the labels are nearly separable a whole step overshoots, and the next one more so.
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-12:
            step /= 2
        weights -= step
    slope = float(weights[0] / scale)
    return slope, float(weights[1] - slope * centre)


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of the prompt: its log-probability, and those of the likeliest tokens in its place."""

    logprob: float
    top: tuple[float, ...] = ()


def _entropy(logprobs: Sequence[float]) -> float:
    """Of a distribution of which the likeliest are known."""
    chances = [exp(logprob) for logprob in logprobs]
    chances.append(max(0.0, 1.0 - sum(chances)))
    return -sum(chance * log(chance) for chance in chances if chance > 0)


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + exp(-x)) if x >= 0 else exp(x) / (1.0 + exp(x))


class OpenAILogprobs:
    """Log-probabilities of given text from a server's `/completions` (`echo` and `logprobs`: vLLM, SGLang, ...).

    Args:
        base_url, model, api_key, timeout, retries: see `trim.backends.client.Server`.
        template: chat template of the model.
        form: how steps are joined.
        tokenizer: the model's own. The text is then sent as its tokens, so that it is certain which token belongs to
            which step; without it the offsets in the server's answer say so.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        template: ChatTemplate,
        *,
        form: StepFormat | None = None,
        tokenizer: TokenCounter | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
    ) -> None:
        self.server = Server("likelihood model", base_url, model, api_key=api_key, timeout=timeout, retries=retries)
        self.template = template
        self.form = form or StepFormat()
        self.counter = tokenizer

    async def step_logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Natural log-probabilities of each step's tokens given everything before them, separators left out."""
        return tuple(tuple(token.logprob for token in step) for step in await self._tokens(question, steps))

    async def first_token_entropies(self, question: Question, steps: tuple[str, ...]) -> tuple[float, ...]:
        """Entropy (nats) of each step's first token, 0 for a step without tokens.

        From the 20 likeliest tokens; all others count as one, so this is a lower bound, and close where it is small.
        """
        found = await self._tokens(question, steps, _TOP)
        return tuple(_entropy(step[0].top) if step else 0.0 for step in found)

    async def _tokens(self, question: Question, steps: tuple[str, ...], top: int = 1) -> list[list[_Token]]:
        """The tokens of each step."""
        if not steps:
            return []
        text = self.template.head(question.text, question.messages)
        spans: list[tuple[int, int]] = []
        for step in steps:
            clean = self.template.clean(step)
            spans.append((len(text), len(text) + len(clean)))
            text += clean + self.form.joiner
        text = text[: spans[-1][1]]
        starts: list[int] | None = None
        prompt: str | list[int] = text
        if self.counter is not None:
            prompt, offsets = self.counter.encode(text)
            starts = [start for start, _ in offsets]
        tokens, told = await self._ask(prompt, top)
        starts = told if starts is None else starts
        if len(starts) != len(tokens):
            raise BadResponse(self.server.name, f"{len(tokens)} log-probabilities for {len(starts)} tokens")
        result: list[list[_Token]] = [[] for _ in steps]
        for start, token in zip(starts, tokens, strict=True):
            at = next((i for i, (first, end) in enumerate(spans) if first <= start < end), None)
            if at is not None:
                result[at].append(token)
        return result

    async def _ask(self, prompt: str | list[int], top: int) -> tuple[list[_Token], list[int]]:
        """The prompt's tokens (log-probability 0 for the first, which has none) and where each begins."""
        body = {
            "model": self.server.model,
            "prompt": prompt,
            "max_tokens": 1,  # some servers refuse 0; the token that is written is dropped
            "echo": True,
            "logprobs": top,
            "temperature": 0,
        }
        answer = await self.server.post("completions", body)
        try:
            found: Any = answer["choices"][0]["logprobs"]
            values = [0.0 if value is None else float(value) for value in found["token_logprobs"]]
            tops = found["top_logprobs"] if top > 1 else [None] * len(values)
            tokens = [
                _Token(value, tuple(map(float, (likeliest or {}).values())))
                for value, likeliest in zip(values, tops, strict=True)
            ]
            offsets = [int(offset) for offset in found["text_offset"]]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise BadResponse(
                self.server.name, "no log-probabilities of the prompt", "the server must honour echo and logprobs"
            ) from None
        written = answer.get("usage", {}).get("completion_tokens", 1)
        end = len(tokens) - written if isinstance(prompt, str) else len(prompt)
        return tokens[:end], offsets[:end]

    async def probe(self) -> Probe:
        """Whether the server is there and gives log-probabilities of a prompt."""
        try:
            models, context = await self.server.models()
        except BackendError as error:
            return Probe(self.server.name, problem=str(error))
        try:
            logprobs = await self.step_logprobs(Question("What is 1 + 1?"), ("1 + 1 = 2", "#### 2"))
        except BackendError as error:
            return Probe(self.server.name, True, models, prompt_logprobs=False, context=context, problem=str(error))
        return Probe(self.server.name, True, models, prompt_logprobs=all(logprobs), context=context)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.server.aclose()


def open_likelihood(
    model: str = "", base_url: str = "", api_key: str | None = None, template: str = "chatml"
) -> LikelihoodScorer:
    """A scorer whose judge is a server's model or, without an address, an embedded one (empty: the shipped judge).

    Coefficients that belong to an embedded judge lie in its folder (`logistic.json`: {"a": ..., "b": ...}).

    Raises:
        ConfigError: there is no such model or template.
    """
    if base_url:
        return LikelihoodScorer(OpenAILogprobs(base_url, model, load_template(template), api_key=api_key))
    from trim.backends.onnx import EmbeddedJudge

    judge = EmbeddedJudge(model or "judge")
    file = judge.engine.folder / "logistic.json"
    if not file.is_file():
        return LikelihoodScorer(judge)
    try:
        fitted = json.loads(file.read_text("utf-8"))
        return LikelihoodScorer(judge, (float(fitted["a"]), float(fitted["b"])))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} cannot be read: {error!r}") from None
