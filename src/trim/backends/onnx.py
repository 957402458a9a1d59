"""The shipped models, and folders of the same layout, as generators in this process."""

from __future__ import annotations

import asyncio
import copy
from math import log
from pathlib import Path

import numpy as np

from trim.backends.onnx_engine import Array, Job
from trim.backends.onnx_model import BLANK, OnnxModel
from trim.backends.token_logprobs import TOP, TokenLogprob, of_step, top_entropy
from trim.protocols import LateCounts, StepStream
from trim.seeding import digest, uniform_of
from trim.types import Finish, Question, Role, Sampling, Step, StepOptions


class EmbeddedGenerator(OnnxModel):
    """A `StepGenerator` from a model folder.

    Args:
        folder: name of a shipped model, or a folder of the same layout.
        role: weak or strong.
        sampling: how tokens are chosen.

    Seeded: a step depends on (seed, question, kept steps, attempt) alone. Steps are separated by blank lines.
    """

    def __init__(self, folder: Path | str, role: Role, sampling: Sampling | None = None, threads: int = 1) -> None:
        super().__init__("embedded", folder, threads)
        self.role = role
        self.sampling = sampling or Sampling()

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> StepStream:
        """Continue `kept`; see `trim.protocols.StepGenerator`."""
        return _Stream(self, question, kept, options)

    def sampled(self, sampling: Sampling) -> EmbeddedGenerator:
        """The same model on the same engine, with tokens chosen in another way."""
        other = copy.copy(self)
        other.sampling = sampling
        return other


class _Writing:
    """One step being written: chooses tokens until the step ends. Called in the engine's thread."""

    def __init__(self, model: EmbeddedGenerator, key: bytes, limit: int) -> None:
        self.ids: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.entropy = 0.0
        self.finish = Finish.LENGTH
        self._sampling = model.sampling
        self._ends = {model.tokens.blank: Finish.SEPARATOR, model.tokens.end: Finish.EOS}
        self._key = key
        self._limit = limit
        self.stopped = False

    def choose(self, logits: Array) -> int | None:
        if self.stopped or len(self.ids) >= self._limit:
            return None
        draw = uniform_of(self._key + len(self.ids).to_bytes(4, "big"))
        token, logprob, entropy = choose_token(logits, self._sampling, draw)
        if not self.ids:
            self.entropy = entropy
        self.ids.append(token)
        # The likeliest tokens' log-probabilities, by that of the chosen one.
        likeliest = np.partition(logits, -TOP)[-TOP:].astype(np.float64) - (float(logits[token]) - logprob)
        self.logprobs.append(TokenLogprob(logprob, top_entropy(likeliest.tolist())))
        if token in self._ends:
            self.finish = self._ends[token]
            return None
        return token


class _Stream:
    """The steps of one solution, written as they are pulled."""

    def __init__(
        self, model: EmbeddedGenerator, question: Question, kept: tuple[str, ...], options: StepOptions
    ) -> None:
        self._model = model
        self._question = question
        self._kept = kept
        self._first = len(kept)
        self._options = options
        self._tokens_left = options.max_tokens
        self._ended = False
        self._writing: _Writing | None = None

    def __aiter__(self) -> _Stream:
        return self

    @property
    def pending_tokens(self) -> int:
        """Tokens of the step that is being written."""
        return len(self._writing.ids) if self._writing else 0

    late_counts = LateCounts()  # the prompt counts once its step is handed over

    async def __anext__(self) -> Step:
        options, model, index = self._options, self._model, len(self._kept)
        if self._ended or index - self._first == options.limit or self._tokens_left == 0:
            raise StopAsyncIteration
        attempt = options.attempt if index == self._first else 0
        key = digest(options.seed, model.role.value, index, attempt, self._question.text)
        pieces = self._pieces()
        cache = model.caches.take(self._question, pieces[:-1])
        same = min(cache.shared(pieces), len(pieces) - 1)
        cached = sum(map(len, pieces[:same]))
        limit = model.sampling.max_step_tokens
        limit = limit if self._tokens_left is None else min(limit, self._tokens_left)
        self._writing = writing = _Writing(model, key, limit)
        picks: list[list[int]] = [[] for _ in pieces]
        picks[-1] = [len(pieces[-1]) - 1]
        try:
            await model.run(self._question, Job(cache, pieces, picks, writing.choose))
        except asyncio.CancelledError:
            writing.stopped = True
            model.usage.completion_tokens += len(writing.ids)
            raise
        self._writing = None
        if self._tokens_left is not None:
            self._tokens_left -= len(writing.ids)
        self._ended = writing.finish is not Finish.SEPARATOR
        prompt = sum(map(len, pieces)) if index == self._first else 0
        step = self._step(writing, prompt, cached if prompt else 0)
        model.usage.calls += bool(prompt)  # one a stream, as with a server
        model.usage.prompt_tokens += step.prompt_tokens
        model.usage.cached_tokens += step.cached_tokens
        model.usage.completion_tokens += step.tokens
        self._kept = (*self._kept, step.text)
        return step

    def _pieces(self) -> list[list[int]]:
        """The prompt, then each kept step with the token of its blank line, if it was not cut at its limit."""
        tokens, goes_on = self._model.tokens, False
        pieces = self._model.pieces(self._question, self._kept, tokens.blank)
        for index, step in enumerate(self._kept, 1):
            cut = not step[-1:].isspace()
            if cut or goes_on:
                text = step if goes_on else step.lstrip()
                pieces[index] = tokens.encode(text) if cut else [*tokens.encode(text.rstrip()), tokens.blank]
            goes_on = cut
        return pieces

    def _step(self, writing: _Writing, prompt: int, cached: int) -> Step:
        ids = writing.ids if writing.finish is Finish.LENGTH else writing.ids[:-1]
        separator = BLANK if writing.finish is Finish.SEPARATOR else ""
        told = of_step(writing.logprobs)
        return Step(
            text=self._model.tokens.decode(ids) + separator,
            role=self._model.role,
            tokens=len(writing.ids),
            finish=writing.finish,
            prompt_tokens=prompt,
            cached_tokens=cached,
            logprob=told.mean,
            entropy=writing.entropy,
            least_logprob=told.least,
            mean_entropy=told.mean_entropy,
            most_entropy=told.most_entropy,
            uncertain=told.uncertain,
        )

    async def aclose(self) -> None:
        """Stop writing."""
        self._ended = True
        if self._writing is not None:
            self._writing.stopped = True


def choose_token(logits: Array, sampling: Sampling, draw: float) -> tuple[int, float, float]:
    """A token, its log-probability and the entropy (nats), the latter two under the model's own distribution.

    `draw` in [0, 1) decides: the token is where the cumulative probability of the allowed tokens, most likely first,
    passes it.
    """
    values = logits.astype(np.float64)
    values -= values.max()
    full = np.exp(values)
    total = full.sum()
    entropy = log(total) - float((full * values).sum() / total)
    if sampling.temperature <= 0:
        token = int(values.argmax())
        return token, float(values[token]) - log(total), entropy
    count = sampling.top_k if 0 < sampling.top_k < len(values) else len(values)
    top = np.argpartition(-values, count - 1)[:count] if count < len(values) else np.arange(len(values))
    top = top[np.lexsort((top, -values[top]))]
    weights = np.exp(values[top] / sampling.temperature)
    cumulative = np.cumsum(weights)
    # top-p keeps the fewest tokens whose share reaches p: those before which less than p has been used up.
    allowed = int(np.searchsorted(cumulative, sampling.top_p * cumulative[-1], side="left")) + 1
    allowed = min(allowed, len(top))
    chosen = int(np.searchsorted(cumulative[:allowed], draw * cumulative[allowed - 1], side="right"))
    token = int(top[min(chosen, allowed - 1)])
    return token, float(values[token]) - log(total), entropy
