"""Log-probabilities of given steps under a causal model: what sources of them offer, and one over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate
from typing import Protocol, TypeVar

from trim.backends.answer_counts import AnswerTotals
from trim.backends.base import WrappedBackend
from trim.backends.client import ServerBackend
from trim.backends.request_extras import RequestExtras
from trim.backends.token_counter import TokenCounter
from trim.backends.token_counts import log_wrong, read_counts
from trim.backends.token_logprobs import known_entropy
from trim.errors import BackendError, BackendRefused, BackendUnavailable, BadResponse, InputTooLong
from trim.off_loop import off_loop
from trim.prompts import ChatTemplate, load_template
from trim.protocols import Backend, Probe
from trim.scoring.logprob_reply import ReplyToken, read_tokens
from trim.scoring.registry import JudgeSettings, extras_of
from trim.scoring.token_alignment import Owners, Places, StepText, align
from trim.steps import StepFormat
from trim.types import Question, Scores

_TOP = 20  # most likely tokens that a server is asked for; vLLM's default maximum
_WRITTEN = 1  # tokens that a server is asked to write
_NO_ECHO = re.compile(r"\becho\b|prompt[ _]logprobs", re.IGNORECASE)  # in a refusal
_OTHERS = "the server must honour echo and logprobs, as vLLM and SGLang do; llama-server does not"

_T = TypeVar("_T")


class LogprobSource(Backend, Protocol):
    """A causal model that says how likely each token of given steps is. The kind in its `identity` is `logprobs`; the
    judge that uses it has its own kind there. `rereads`: see `Scores`.
    """

    @property
    def rereads(self) -> bool: ...

    async def step_logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Natural log-probabilities of each step's tokens given everything before them, separators left out."""
        ...

    async def first_token_entropies(self, question: Question, steps: tuple[str, ...]) -> tuple[float, ...]:
        """Entropy (nats) of the distribution of each step's first token given everything before it."""
        ...


class LogprobJudge(WrappedBackend):
    """What judges over a `LogprobSource` share: they are the source under another name.

    Args:
        kind: what `identity` begins with.
        source: gives log-probabilities.
    """

    def __init__(self, kind: str, source: LogprobSource) -> None:
        super().__init__(source)
        self.kind = kind
        self.source = source

    def scores(self, values: Iterable[float], tokens: Iterable[int]) -> Scores:
        """Scores, with the tokens that each step took."""
        up_to = tuple(accumulate(tokens))
        return Scores(tuple(values), up_to[-1] if up_to else 0, up_to, self.source.rereads)

    @property
    def identity(self) -> str:
        """Kind of the judge and its model."""
        return f"{self.kind}:{self.source.identity.partition(':')[2]}"

    async def logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Of each step's tokens, at least one.

        Raises:
            BadResponse: the source gave another number of steps, or nothing for one of them.
        """
        found = await self.source.step_logprobs(question, steps)
        if len(found) != len(steps):
            raise BadResponse(self.identity, f"log-probabilities of {len(found)} steps for {len(steps)}")
        if not all(found):
            raise BadResponse(self.identity, f"no log-probabilities of step {[*map(bool, found)].index(False) + 1}")
        return found


class OpenAILogprobs(ServerBackend):
    """Log-probabilities of given text from a server's `/completions` (`echo` and `logprobs`: vLLM, SGLang, ...).

    Args:
        base_url, model, api_key, timeout, retries, extras: see `trim.backends.client.Server`.
        template: chat template of the model.
        form: how steps are joined.
        tokenizer: the model's own. The text is then sent as its tokens, so that it is known which token belongs to
            which step; without it the texts of the server's tokens say so, see `trim.scoring.token_alignment`.
        context: tokens that the model can read; only used with a tokenizer.

    A token belongs to the step in which its first visible character stands. What cannot be told is a `BadResponse`.
    """

    rereads = True

    def __init__(
        self,
        base_url: str,
        model: str,
        template: ChatTemplate,
        *,
        form: StepFormat | None = None,
        tokenizer: TokenCounter | None = None,
        context: int | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        extras: RequestExtras = RequestExtras(),
    ) -> None:
        name = "likelihood model"
        super().__init__(
            "logprobs",
            name,
            base_url,
            model,
            api_key=api_key,
            timeout=timeout,
            retries=retries,
            extras=extras,
        )
        self.template = template
        self.form = form or StepFormat()
        self.counter = tokenizer
        self.context = context

    async def step_logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Natural log-probabilities of each step's tokens given everything before them, separators left out."""
        found = await self._tokens(question, steps)
        return tuple(tuple(self._given(token.logprob, step) for token in tokens) for step, tokens in found)

    async def first_token_entropies(self, question: Question, steps: tuple[str, ...]) -> tuple[float, ...]:
        """Entropy (nats) of each step's first token.

        From the 20 most likely tokens; all others count as one, so this is a lower bound, and close where it is small.
        """
        found = await self._tokens(question, steps, _TOP)
        return tuple(known_entropy(self._given(tokens[0].top or None, step)) for step, tokens in found)

    def _given(self, value: _T | None, step: int) -> _T:
        """What the server gives for a token of a step; never a guess in its place."""
        if value is None:
            raise BadResponse(self.server.name, f"no log-probability of a token of step {step + 1}")
        return value

    async def _tokens(
        self, question: Question, steps: tuple[str, ...], top: int = 1
    ) -> list[tuple[int, list[ReplyToken]]]:
        """The tokens of each step, at least one, by its index."""
        if not steps:
            return []
        length = question.length + sum(map(len, steps))
        text, prompt, spans = await off_loop(length, self._laid_out, question, steps)
        tokens = await self._ask(prompt, top)
        owners = await off_loop(length, self._owners, text, prompt, spans, tokens)
        result: list[list[ReplyToken]] = [[] for _ in steps]
        for token, possible in zip(tokens, owners, strict=False):
            if len(possible) > 1:
                shown = f"token {token.shown.text!r} may belong to more than one step"
                raise BadResponse(self.server.name, shown, "set [prm] tokenizer to a folder with the model's own")
            for step in possible:
                if step is not None:
                    result[step].append(token)
        if empty := [step + 1 for step, own in enumerate(result) if not own]:
            raise BadResponse(self.server.name, f"step {empty[0]} has no token of its own, so it has no likelihood")
        return list(enumerate(result))

    def _joined(self, text: StepText, tokens: list[ReplyToken], sent: int) -> list[Owners]:
        """Whose the tokens may be; raises where their texts do not join to what was sent. `sent`: as so many tokens."""
        shown, hint = [token.shown for token in tokens], "it must honour echo and logprobs"
        if len(tokens) <= _WRITTEN:  # llama-server ignores echo
            raise BadResponse(self.server.name, "it gives no log-probabilities of a prompt", _OTHERS)
        for read in text.normalised():
            places = align(read.text, shown, head=read.head, written=_WRITTEN)
            if places is None:
                continue
            if sent and not sent <= len(places) <= sent + _WRITTEN:
                words = f"{len(places)} tokens for a text of {sent}"
                raise BadResponse(self.server.name, words, f"{hint}, and [prm] tokenizer must be the model's own")
            return read.owners(places)
        words = f"{len(tokens)} tokens whose texts do not join to the text that was sent"
        raise BadResponse(self.server.name, words, hint)

    def _laid_out(self, question: Question, steps: tuple[str, ...]) -> tuple[StepText, str | list[int], list[Places]]:
        """What the model reads, the prompt to send, and where its tokens stand if that is known before."""
        head = self.template.head(question.text, question.messages)
        text = StepText.of(head, tuple(map(self.template.clean, steps)), self.form.joiner)
        return text, *self._encoded(text.text)

    def _owners(
        self, text: StepText, prompt: str | list[int], spans: list[Places], tokens: list[ReplyToken]
    ) -> list[Owners]:
        """The steps that each token may belong to."""
        if spans and [token.number for token in tokens[: len(spans)]] == prompt:
            return text.owners(spans)
        found = self._joined(text, tokens, len(spans))
        return text.owners(spans) if spans else found

    def _encoded(self, text: str) -> tuple[str | list[int], list[Places]]:
        """The prompt to send, and where its tokens stand if that is known before."""
        if self.counter is None:
            return text, []
        ids, offsets = self.counter.encode(text)
        if self.context is not None and len(ids) > self.context:
            raise InputTooLong(self.server.name, f"{len(ids)} tokens, the context is {self.context}")
        at = [0, *accumulate(len(letter.encode("utf-8", "surrogatepass")) for letter in text)]
        return ids, [frozenset({(at[start], at[end])}) for start, end in offsets]

    async def _ask(self, prompt: str | list[int], top: int) -> list[ReplyToken]:
        """The tokens of the reply, with what the model wrote at the end where the server tells that too."""
        body = {
            "model": self.server.model,
            "prompt": prompt,
            "max_tokens": _WRITTEN,  # some servers refuse 0; the token that is written is dropped
            "echo": True,
            "logprobs": top,
            "temperature": 0,
        }
        self.usage.calls += 1
        try:
            answer = await self.server.post("completions", body)
        except (BackendRefused, BackendUnavailable) as error:
            if not _NO_ECHO.search(error.problem):
                raise
            words = f"it gives no log-probabilities of a prompt ({error.problem})"
            raise BackendRefused(self.server.name, words, _OTHERS) from None
        try:
            tokens = read_tokens(answer)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise BadResponse(self.server.name, "no log-probabilities of the prompt", _OTHERS) from None
        said = read_counts(answer)
        log_wrong(self.server.name, said)
        written = _WRITTEN if said.completion is None else said.completion
        read = max(0, len(tokens) - written) if said.prompt is None else said.prompt
        AnswerTotals(read, min(said.cached or 0, read), written, bool(said.wrong)).add_to(self.usage)
        return tokens

    async def trial(self, found: Probe) -> Probe:
        """Whether the server gives log-probabilities of a prompt."""
        try:
            logprobs = await self.step_logprobs(Question("What is 1 + 1?"), ("1 + 1 = 2", "#### 2"))
        except BackendError as error:
            return replace(found, prompt_logprobs=False, problem=str(error))
        return replace(found, prompt_logprobs=all(logprobs))


def open_server(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> OpenAILogprobs:
    """The server that `[prm]` describes.

    Raises:
        ConfigError: there is no such template or tokenizer.
    """
    return OpenAILogprobs(
        settings.base_url,
        settings.model,
        load_template(settings.template, settings.system),
        form=step_format,
        tokenizer=None if settings.tokenizer is None else TokenCounter(settings.tokenizer),
        context=settings.context,
        api_key=api_key,
        timeout=settings.timeout,
        retries=settings.retries,
        extras=extras_of(settings),
    )
