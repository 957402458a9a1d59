"""Log-probabilities of given steps under a causal model: what sources of them offer, and one over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Any, Protocol

from trim.backends.base import WrappedBackend
from trim.backends.client import ServerBackend, TokenCounter
from trim.errors import BackendError, BadResponse
from trim.prompts import ChatTemplate, load_template
from trim.protocols import Backend, Probe
from trim.scoring.registry import JudgeSettings
from trim.steps import StepFormat
from trim.types import Question

_TOP = 20  # most likely tokens that a server is asked for; vLLM's default maximum


class LogprobSource(Backend, Protocol):
    """A causal model that says how likely each token of given steps is. The kind in its `identity` is `logprobs`; the
    judge that uses it has its own kind there.
    """

    async def step_logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Natural log-probabilities of each step's tokens given everything before them, separators left out."""
        ...

    async def first_token_entropies(self, question: Question, steps: tuple[str, ...]) -> tuple[float, ...]:
        """Entropy (nats) of the distribution of each step's first token given everything before it."""
        ...


class LogprobJudge(WrappedBackend):
    """What judges over a `LogprobSource` share: they are the source under another name."""

    def __init__(self, kind: str, source: LogprobSource) -> None:
        super().__init__(source)
        self.kind = kind
        self.source = source

    @property
    def identity(self) -> str:
        """Kind of the judge and its model."""
        return f"{self.kind}:{self.source.identity.partition(':')[2]}"


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of the prompt: its log-probability, and those of the most likely tokens in its place."""

    logprob: float
    top: tuple[float, ...] = ()


def _entropy(logprobs: Sequence[float]) -> float:
    """Entropy of a distribution whose most likely outcomes are known."""
    chances = [exp(logprob) for logprob in logprobs]
    chances.append(max(0.0, 1.0 - sum(chances)))
    return -sum(chance * log(chance) for chance in chances if chance > 0)


class OpenAILogprobs(ServerBackend):
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
        name = "likelihood model"
        super().__init__("logprobs", name, base_url, model, api_key=api_key, timeout=timeout, retries=retries)
        self.template = template
        self.form = form or StepFormat()
        self.counter = tokenizer

    async def step_logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Natural log-probabilities of each step's tokens given everything before them, separators left out."""
        return tuple(tuple(token.logprob for token in step) for step in await self._tokens(question, steps))

    async def first_token_entropies(self, question: Question, steps: tuple[str, ...]) -> tuple[float, ...]:
        """Entropy (nats) of each step's first token, 0 for a step without tokens.

        From the 20 most likely tokens; all others count as one, so this is a lower bound, and close where it is small.
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
        self.usage.calls += 1
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
        used = answer.get("usage") or {}
        written = int(used.get("completion_tokens", 1))
        self.usage.prompt_tokens += int(used.get("prompt_tokens", len(tokens) - written))
        self.usage.completion_tokens += written
        end = len(tokens) - written if isinstance(prompt, str) else len(prompt)
        return tokens[:end], offsets[:end]

    async def trial(self, found: Probe) -> Probe:
        """Whether the server gives log-probabilities of a prompt."""
        try:
            logprobs = await self.step_logprobs(Question("What is 1 + 1?"), ("1 + 1 = 2", "#### 2"))
        except BackendError as error:
            return replace(found, prompt_logprobs=False, problem=str(error))
        return replace(found, prompt_logprobs=all(logprobs))


def open_server(settings: JudgeSettings, api_key: str | None) -> OpenAILogprobs:
    """The server that `[prm]` describes.

    Raises:
        ConfigError: there is no such template.
    """
    template = load_template(settings.template)
    return OpenAILogprobs(
        settings.base_url,
        settings.model,
        template,
        api_key=api_key,
        timeout=settings.timeout,
        retries=settings.retries,
    )
