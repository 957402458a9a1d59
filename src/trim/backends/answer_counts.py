"""The tokens of one answer, shared among its steps: the server's counts as far as they go, estimates for the rest.

Servers count in every chunk, at the end, or never; some send 0 until the end. A step that is finished before its count
is known gets an estimate. Each count that comes later is taken as the sum of all before it, so that the steps which
follow make up for the estimates, and what they cannot make up for stands in `totals`. No I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from trim.backends.token_counts import TextCounter, TokenCounts, log_wrong, read_counts, size
from trim.errors import BadResponse
from trim.types import Usage

_LONGEST: Final = 128  # bytes of a token at most, such as a run of spaces
_UNSEEN: Final = 16  # tokens without a text of their own, such as that of the end, at most
_LARGE: Final = 16  # bytes of a token in any whole text, at most
_SPARE: Final = 4096  # bytes beyond that


@dataclass(frozen=True, slots=True)
class StepCount:
    """Tokens of a step."""

    tokens: int
    estimated: bool


@dataclass(frozen=True, slots=True)
class AnswerTotals:
    """Tokens of whole requests as far as they are known; `cached` are some of `prompt`."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    estimated: bool = False

    def __add__(self, other: AnswerTotals) -> AnswerTotals:
        return AnswerTotals(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.estimated or other.estimated,
        )

    def add_to(self, usage: Usage) -> None:
        """Count them where a backend counts all of its requests."""
        usage.prompt_tokens += self.prompt
        usage.cached_tokens += self.cached
        usage.completion_tokens += self.completion
        usage.estimated = usage.estimated or self.estimated


def whole_answer(server: str, answer: object, counter: TextCounter, prompt: str, text: str = "") -> AnswerTotals:
    """Tokens of an answer that came in one piece: `text`, written to `prompt`."""
    said = read_counts(answer)
    log_wrong(server, said)
    read = said.prompt or counter.count(prompt)
    written = counter.count(text) if said.completion is None else said.completion
    doubtful = not said.prompt or (said.completion is None and text != "") or bool(said.wrong)
    return AnswerTotals(read, min(said.cached or 0, read), written, doubtful)


class AnswerCounts:
    """The tokens of one answer.

    Args:
        server: what log lines call it.
        counter: estimates the tokens of texts.
        prompt: the text that was sent.
        most: completion tokens that were asked for at most; None: not known.
    """

    def __init__(self, server: str, counter: TextCounter, prompt: str, most: int | None = None) -> None:
        self._server = server
        self._counter = counter
        self._prompt = prompt
        self._estimated_prompt: int | None = None
        self._most = most
        self._said = TokenCounts()  # the newest of each count that can be right
        self._highest = 0  # of the completion's counts
        self._logprobs = 0  # tokens whose log-probabilities came
        self._size = 0  # bytes read
        self._uncounted = False  # text came after the newest count
        self._given = 0  # tokens of finished steps
        self._guessed = False  # where the open step begins, `_given` is an estimate
        self._excess = 0  # by which they exceed the server's count
        self._rest = ""  # the open step
        self._counted = ""  # the part of it that the server has counted,
        self._open = 0  # as so many tokens

    @property
    def exact(self) -> bool:
        """Whether the server has counted all text so far."""
        return self._said.completion is not None and not self._uncounted

    @property
    def is_counted(self) -> bool:
        """Whether the server has given any count of the completion."""
        return self._said.completion is not None

    @property
    def pending(self) -> int:
        """Tokens of the open step."""
        return self._open + self._counter.count(self._rest[len(self._counted) :])

    @property
    def totals(self) -> AnswerTotals:
        """All tokens of the request so far."""
        prompt, cached = self.prompt
        doubtful = not self.exact or not self.prompt_is_exact or "completion" in self._said.wrong
        return AnswerTotals(prompt, cached, max(0, self._given + self.pending - self._excess), doubtful)

    @property
    def prompt(self) -> tuple[int, int]:
        """Prompt tokens, and those of them that were cached, as far as they are known."""
        prompt = self._said.prompt
        if prompt is None:
            if self._estimated_prompt is None:
                self._estimated_prompt = self._counter.count(self._prompt)
            prompt = self._estimated_prompt
        return prompt, min(self._said.cached or 0, prompt)

    @property
    def prompt_is_exact(self) -> bool:
        """Whether the server has counted the prompt."""
        return self._said.prompt is not None and not self._said.wrong.keys() & {"prompt", "cached"}

    def check_size(self) -> None:
        """See whether the text can be what was asked for.

        Raises:
            BadResponse: it is far longer: the server does not keep to the limit of the request, or never ends.
        """
        if self._most is not None and self._size > self._most * _LARGE + _SPARE:
            words = f"has written {self._size} bytes where at most {self._most} tokens were asked for"
            raise BadResponse(self._server, words, "the server must honour max_tokens")

    def at_least(self, tokens: int) -> bool:
        """Whether the open step has so many tokens."""
        # A token is at least a byte in nearly every vocabulary: no need to count short texts.
        return self._open + size(self._rest[len(self._counted) :]) >= tokens and self.pending >= tokens

    def read(
        self, said: TokenCounts, text: str, finished: Sequence[str], rest: str, logprobs: int = 0
    ) -> list[StepCount]:
        """The counts of the steps that a chunk finishes.

        Args:
            said: by the server, in this chunk.
            text: of the chunk.
            finished: the whole texts of these steps.
            rest: the text of the step that is open now.
            logprobs: tokens whose log-probabilities are in the chunk.
        """
        counted = self._note(said, text, logprobs)
        first, *others = *finished, rest
        fresh = [first[len(self._counted) :], *others]
        self._rest = rest
        if counted:
            return self._share(fresh)
        if not finished:
            return []
        counts = [self._counter.count(part) for part in fresh[:-1]]
        counts[0] += self._open
        self._open, self._counted = 0, ""
        return [self._give(count, estimated=True) for count in counts]

    def correct(self, tokens: int) -> None:
        """A finished step has so many tokens more than was thought."""
        self._given += tokens

    def put_back(self, count: StepCount) -> None:
        """A step that is not wanted any more: its tokens are pending."""
        self._given -= count.tokens
        self._open += count.tokens

    def cut(self) -> StepCount:
        """The open step ends here, though its answer goes on."""
        count = self._give(self.pending, estimated=self._guessed or not self.exact)
        self._clear()
        return count

    def end(self, *, token: bool, cut: bool = False) -> StepCount:
        """The open step ends with the answer, and gets what is left of the server's count.

        Args:
            token: the model wrote a token to end it, which has no text.
            cut: at the limit, so that about as many tokens were written as were asked for, unless the context was full.
        """
        if self.exact:
            assert self._said.completion is not None
            left = self._said.completion - self._given
            self._excess = max(0, -left)
            doubtful = self._guessed or self._excess > 0 or "completion" in self._said.wrong
            count = self._give(max(0, left), estimated=doubtful)
        else:
            pending = self.pending + token
            if cut and self._most is not None and self._most <= 2 * (self._given + pending):
                pending = max(1, self._most - self._given)
            count = self._give(pending, estimated=True)
        self._clear()
        return count

    def learn(self) -> None:
        """The answer is whole: its tokens tell how long those of this model are."""
        said = self._said
        if self.exact and not said.wrong and not said.reasoning and said.completion:
            self._counter.learn(self._size, said.completion)

    def learn_prompt(self) -> None:
        """The prompt is the text that was sent: its tokens tell the same."""
        if self.prompt_is_exact and self._said.prompt:
            self._counter.learn(size(self._prompt), self._said.prompt)

    def _note(self, said: TokenCounts, text: str, logprobs: int) -> bool:
        """Keep what can be right; returns whether the text so far is counted."""
        self._size += size(text)
        self._uncounted = self._uncounted or bool(text)
        self._logprobs += logprobs
        said = self._plausible(said)
        self._said = _newest(self._said, said)
        log_wrong(self._server, self._said)
        counted = said.completion is not None
        if not counted and logprobs and not self._highest:
            self._said = replace(self._said, completion=self._logprobs)
            counted = True
        self._highest = max(self._highest, said.completion or 0)
        self._uncounted = self._uncounted and not counted
        return counted

    def _plausible(self, said: TokenCounts) -> TokenCounts:
        """Without counts that contradict the text or each other. Some servers send 0 before they have counted."""
        count, wrong = said.completion, dict(said.wrong)
        most = None if self._most is None else max(self._most + (said.reasoning or 0), self._size) + _UNSEEN
        if count is not None and (count * _LONGEST < self._size or (most is not None and count > most)):
            if count:
                wrong["completion"] = f"{count} completion tokens for {self._size} bytes"
            count = None
        elif count is not None and count < self._highest:
            wrong["completion"] = f"{count} completion tokens after {self._highest}"
        if count == said.completion and said.prompt != 0 and len(wrong) == len(said.wrong):
            return said
        return replace(said, prompt=said.prompt or None, completion=count, wrong=wrong)

    def _share(self, fresh: list[str]) -> list[StepCount]:
        """Give the server's newest count to the steps, by the text that is new in each, the open one last."""
        assert self._said.completion is not None
        new = self._said.completion - self._given - self._open
        self._excess = max(0, -new)
        self._counted = self._rest
        if len(fresh) == 1:
            self._open += max(0, new)
            return []
        weights = [self._counter.count(part) for part in fresh]
        weights[0] = max(1, weights[0])
        shares = share_out(max(0, new), weights)
        shares[0] += self._open
        self._open = shares.pop()
        among_several = sum(map(bool, weights)) > 1
        doubtful = self._guessed or among_several or self._excess > 0 or "completion" in self._said.wrong
        counts = [self._give(share, estimated=doubtful) for share in shares]
        self._guessed = weights[-1] > 0 or self._excess > 0
        return counts

    def _give(self, tokens: int, *, estimated: bool) -> StepCount:
        self._given += tokens
        self._guessed = self._guessed or estimated
        return StepCount(tokens, estimated)

    def _clear(self) -> None:
        self._rest = self._counted = ""
        self._open = 0


def _newest(old: TokenCounts, new: TokenCounts) -> TokenCounts:
    """The newest of each count; what was wrong and has not been put right since."""
    prompt = old.prompt if new.prompt is None else new.prompt
    cached = old.cached if new.cached is None else new.cached
    completion = old.completion if new.completion is None else new.completion
    wrong = new.wrong
    if old.wrong:
        right = {"prompt": new.prompt, "cached": new.cached, "completion": new.completion}
        wrong = {name: words for name, words in old.wrong.items() if right.get(name) is None} | {**wrong}
    if prompt is not None and cached is not None and cached > prompt:
        wrong = {**wrong, "cached": f"{cached} cached tokens of {prompt} prompt tokens"}
    return TokenCounts(prompt, cached, completion, new.reasoning or old.reasoning, wrong)


def share_out(total: int, weights: list[int]) -> list[int]:
    """`total` in whole parts about proportional to `weights`; the last part is rounded down, all add up to `total`."""
    whole = sum(weights) or 1
    parts: list[int] = []
    seen = 0
    for weight in weights:
        seen += weight
        parts.append(-(-total * seen // whole) - sum(parts))
    return parts
