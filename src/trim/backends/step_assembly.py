"""From the chunks of one answer to counted steps. No I/O: whatever a server does to a text is understood here.

Tokens of a step come from the server's running counts, else from a local tokenizer, else (one step per request) from
the count at the end of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import fsum

from trim.backends.client import TokenCounter
from trim.errors import BackendUnavailable, BadResponse
from trim.protocols import PendingPrompt
from trim.steps import Cutter, StepFormat
from trim.types import Finish, Role, Step

NO_COUNT = "give the generator a tokenizer file to count with"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer. Counts are of the whole request so far; None: not said.

    `finish` is the server's finish_reason; `stop` the stop string that it ended at; `told` whether the server says at
    all which stop string that was.
    """

    text: str = ""
    completion_tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    finish: str | None = None
    stop: str | None = None
    told: bool = False
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What one request was about.

    `prompt`: the text that was sent, for counting it. `limit`: steps wanted. `max_step_tokens`: after so many tokens a
    step is cut off. `stop`: a stop string was sent.
    """

    server: str
    role: Role
    form: StepFormat
    prompt: str
    limit: int | None
    max_step_tokens: int
    stop: bool
    counter: TokenCounter | None = None


class Assembler:
    """Takes the chunks of one answer, gives its steps.

    `done`: nothing more is wanted, the stream can be closed. `cut_off`: the server ended the answer at the token limit.
    """

    def __init__(self, terms: Terms) -> None:
        self.done = False
        self.cut_off = False
        self.given = 0  # steps
        self._terms = terms
        self._cutter = Cutter(terms.form)
        self._last = Chunk()
        self._running = False  # the server counts in every chunk
        self._tokens = 0  # attributed to steps
        self._open_tokens = 0
        self._open_text = ""  # read of the open step before this chunk
        self._logprobs: list[float] = []
        self._prompt_given = False
        self._closed = False  # what was open has become a step
        self._held: str | None = None  # a finished step that waits for the count at the end of the answer

    @property
    def finished(self) -> bool:
        """Whether the server has said why the answer ended."""
        return self._last.finish is not None

    @property
    def pending_tokens(self) -> int:
        """Tokens read that belong to no step yet."""
        if self._closed:
            return 0
        if self._running:
            return self._open_tokens
        open_text = (self._held or "") + self._cutter.rest()
        return self._count(open_text) if open_text and self._terms.counter else 0

    @property
    def pending_prompt(self) -> PendingPrompt:
        """Prompt tokens that the server has told and no step carries yet."""
        if self._prompt_given:
            return PendingPrompt()
        return PendingPrompt(self._last.prompt_tokens or 0, self._last.cached_tokens or 0)

    def feed(self, chunk: Chunk) -> list[Step]:
        """The steps that this chunk finishes."""
        previous, self._last = self._last, _merged(self._last, chunk)
        new = self._new_tokens(previous, chunk)
        self._logprobs += chunk.logprobs or ()
        texts = self._cutter.feed(chunk.text) if chunk.text else []
        steps = self._counted(texts, new)
        if steps and self._terms.limit is not None and self.given >= self._terms.limit:
            self.done = True
        if not self.done and not steps and self._too_long():
            self.done = True
            steps.append(self._step(self._cutter.rest(), self.pending_tokens, Finish.LENGTH))
            self._closed = True
        return steps

    def end(self) -> list[Step]:
        """The steps that were still open when the answer ended.

        Raises:
            BadResponse: there is no way to count their tokens.
            BackendUnavailable: the server gave up.
        """
        self.done = True
        reason, rest, terms = self._last.finish, self._cutter.rest(), self._terms
        steps: list[Step] = []
        if self._held is not None:
            steps.append(self._step(self._held, self._total(), Finish.SEPARATOR))
        if terms.limit is not None and self.given >= terms.limit:
            return steps
        self._closed = True
        if reason == "length":
            self.cut_off = True
            if rest:
                steps.append(self._step(rest, self._remainder(rest), Finish.LENGTH))
        elif reason in ("stop", "eos"):
            finish = self._why(rest)
            steps.append(self._step(rest, self._remainder(rest, ended=True), finish))
        else:
            raise BackendUnavailable(terms.server, f"gave up in the middle of an answer (finish_reason {reason!r})")
        return steps

    def _why(self, rest: str) -> Finish:
        """Separator or end of the solution: a finish_reason "stop" can mean either."""
        if not self._terms.stop or self.given:  # given: the stop string was kept in the text and has been seen
            return Finish.EOS
        if self._last.told:
            return Finish.SEPARATOR if self._last.stop == self._terms.form.stop else Finish.EOS
        # Not told, not kept. Asking for a step after the last one costs one request; ending too early, the answer.
        return Finish.SEPARATOR if rest and not self._terms.form.has_answer(rest) else Finish.EOS

    # Counting ---------------------------------------------------------------------------------------------------

    def _new_tokens(self, previous: Chunk, chunk: Chunk) -> int | None:
        """Tokens of this chunk as the server counts them; None: it does not say."""
        if chunk.completion_tokens is not None:
            if chunk.text:
                self._running = True
            return max(0, chunk.completion_tokens - (previous.completion_tokens or 0))
        if chunk.logprobs is not None:
            self._running = True
            return len(chunk.logprobs)
        return None

    def _counted(self, texts: list[str], new: int | None) -> list[Step]:
        """Steps of these texts. Several in one chunk share its tokens by size, what is open after them included."""
        rest = self._cutter.rest()
        if not texts:
            self._open_tokens += (new or 0) if self._running else 0
            self._open_text = rest
            return []
        if self._running:
            size = len if self._terms.counter is None else self._count
            sizes = [size(text + self._terms.form.joiner) for text in texts]
            sizes[0] = max(1, sizes[0] - size(self._open_text))
            shares = _shares(new or 0, [*sizes, size(rest)])
            shares[0] += self._open_tokens
            counts, self._open_tokens = shares[:-1], shares[-1]
        elif self._terms.counter is not None:
            counts = [self._count(text + self._terms.form.joiner) for text in texts]
        else:
            if self._held is None and self._terms.limit == 1:
                self._held = texts[0]
                return []
            raise BadResponse(self._terms.server, "the stream does not say how many tokens a step has", NO_COUNT)
        self._open_text = rest
        if self._terms.limit is not None:
            wanted = self._terms.limit - self.given
            self._open_tokens += sum(counts[wanted:]) if self._running else 0
            texts, counts = texts[:wanted], counts[:wanted]
        return [self._step(text, n, Finish.SEPARATOR) for text, n in zip(texts, counts, strict=True)]

    def _too_long(self) -> bool:
        limit, rest = self._terms.max_step_tokens, self._cutter.rest()
        if self._terms.stop or self.finished:
            return False  # the request itself had this limit
        if self._running:
            return self._open_tokens >= limit
        # A token is at least a byte in nearly every vocabulary: no need to count short texts.
        return self._terms.counter is not None and len(rest.encode()) >= limit and self._count(rest) >= limit

    def _total(self) -> int:
        """Tokens of the answer that no step has yet, by the count at its end."""
        if self._last.completion_tokens is not None:
            return max(0, self._last.completion_tokens - self._tokens)
        if self._terms.counter is not None:
            return self._count((self._held or "") + self._terms.form.joiner)
        raise BadResponse(self._terms.server, "the answer came without token counts (usage)", NO_COUNT)

    def _remainder(self, rest: str, *, ended: bool = False) -> int:
        """Tokens of the last step; `ended`: with the token of the separator or end."""
        if self._running and self._last.completion_tokens is None:
            return self._open_tokens
        if self._last.completion_tokens is None and self._terms.counter is not None:
            return self._count(rest) + ended
        return self._total()

    def _count(self, text: str) -> int:
        assert self._terms.counter is not None
        return self._terms.counter.count(text)

    def _step(self, text: str, tokens: int, finish: Finish) -> Step:
        self.given += 1
        self._tokens += tokens
        part, self._logprobs = self._logprobs[:tokens], self._logprobs[tokens:]
        step = Step(text, self._terms.role, tokens, finish, logprob=fsum(part) / len(part) if part else None)
        if self._prompt_given:
            return step
        prompt = self._last.prompt_tokens
        if prompt is None and self._terms.counter is not None:
            prompt = self._count(self._terms.prompt)
        self._prompt_given = prompt is not None
        return replace(step, prompt_tokens=prompt or 0, cached_tokens=self._last.cached_tokens or 0)


def _merged(old: Chunk, new: Chunk) -> Chunk:
    """The newest value of every field that chunks give once."""
    return Chunk(
        completion_tokens=old.completion_tokens if new.completion_tokens is None else new.completion_tokens,
        prompt_tokens=old.prompt_tokens if new.prompt_tokens is None else new.prompt_tokens,
        cached_tokens=old.cached_tokens if new.cached_tokens is None else new.cached_tokens,
        finish=old.finish if new.finish is None else new.finish,
        stop=old.stop if new.finish is None else new.stop,
        told=old.told if new.finish is None else new.told,
    )


def _shares(total: int, weights: list[int]) -> list[int]:
    """`total` in whole parts about proportional to `weights`; the last part is rounded down, all add up to `total`."""
    whole = sum(weights) or 1
    parts: list[int] = []
    seen = 0
    for weight in weights:
        seen += weight
        parts.append(-(-total * seen // whole) - sum(parts))
    return parts
