"""What a solution is charged for: a property of what was decided, whatever else ran, and however it was read ahead.

The rule, for every order of policies, concurrency, lookahead, resume and replay:

- a solution is charged as if it ran alone, with a prefix cache of its own for each role and nobody else's;
- a model is charged for each text that was decided on, kept or not, once. What was drafted ahead and never decided on
  is not charged;
- a model reads a prompt where a text does not go on from its own last one: at the start, behind another model's step,
  for another attempt. Prompt tokens that an earlier prompt of this role, or its answer, begins with are cached;
- the judge is charged for the texts that were decided on, one call for each, in that order; a text that it has scored
  is not scored again. One that answers in words is charged for what it writes, and for a call about each kept step.

`Ledger.usage` has what the requests really took.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from trim.backends.token_counts import as_count
from trim.protocols import LateCounts
from trim.types import Role, Step, Usage

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Late:
    """What a stream said after its steps; it began behind the steps `start`."""

    start: Texts
    counts: LateCounts


@dataclass(frozen=True, slots=True)
class Reading:
    """What a judge takes for a text.

    Args:
        tokens: of the whole text.
        rereads: each call reads the whole text, of which the judge's own prefix cache may hold a part; False: the judge
            keeps what it has read, and reads only what is new.
        written: completion tokens of a judge that answers in words; None: it does not.
        estimated: the tokens are, such as a share of what a call for several texts read.
    """

    tokens: int = 0
    rereads: bool = True
    written: int | None = None
    estimated: bool = False


@dataclass(slots=True)
class _Account:
    """One role's charges.

    `read`: tokens of the prompts and answers so far, by the steps that they end with. The request that is open began
    behind the steps `start`, `held` tokens of which were known, with `prompt` tokens (0: not told yet), `cached` of
    them charged as such; `written` were written in it, and it has come to the steps `end`. `late`: completion tokens
    told after their steps. `estimated`: so was the newest text's count.
    """

    usage: Usage = field(default_factory=Usage)
    read: dict[Texts, int] = field(default_factory=dict)
    start: Texts = ()
    end: Texts | None = None
    held: int = 0
    prompt: int = 0
    cached: int = 0
    written: int = 0
    late: int = 0
    estimated: bool = False

    def known(self, texts: Texts) -> int:
        """Tokens of the longest prefix of `texts` that was read or written."""
        return next((self.read[texts[:n]] for n in range(len(texts), -1, -1) if texts[:n] in self.read), 0)

    def discarded(self, kept: int) -> int:
        """Of its completion tokens, so many of which were kept as their steps have them."""
        return min(max(0, self.usage.completion_tokens - self.late - kept), self.usage.completion_tokens)

    def begin(self, kept: Texts) -> None:
        """Another request."""
        self.usage.calls += 1
        self.usage.estimated = self.usage.estimated or self.estimated
        self.start, self.held, self.prompt, self.cached, self.written = kept, self.known(kept), 0, 0, 0
        self.estimated = False

    def add(self, prompt: int, completion: int) -> None:
        """Tokens of the request that is open."""
        self.usage.prompt_tokens += prompt
        self.usage.cached_tokens -= self.cached
        self.usage.completion_tokens += completion
        self.prompt += prompt
        self.cached = min(self.prompt, self.held)
        self.written += completion
        self.usage.cached_tokens += self.cached
        self.read[self.start] = self.prompt or self.held
        if self.end is not None:
            self.read[self.end] = self.read[self.start] + self.written


class Charges:
    """What one question is charged for, by role."""

    def __init__(self) -> None:
        self._accounts = {role: _Account() for role in Role}

    @property
    def usage(self) -> dict[Role, Usage]:
        """So far; what is discarded is not known before the end."""
        return {role: account.usage for role, account in self._accounts.items()}

    def question_tokens(self, role: Role) -> int:
        """Tokens of the prompt with nothing but the question, as the server of this role has counted them at last; 0:
        it has not read that.
        """
        return self._accounts[role].read.get((), 0)

    def write(self, step: Step, kept: Texts) -> Step:
        """Charge a model for a text that continues the `kept` ones; the step with the prompt tokens that it is charged
        for. Texts in the order in which they were decided on.
        """
        account = self._accounts[step.role]
        if account.end != kept:
            account.begin(kept)
        prompt, tokens = as_count(step.prompt_tokens), as_count(step.tokens)
        asked = 0 if account.prompt else prompt or 0  # some servers tell it late
        account.end = (*kept, step.text)
        account.add(asked, tokens or 0)
        account.estimated = account.estimated or step.estimated or None in (prompt, tokens)
        return replace(step, prompt_tokens=asked, cached_tokens=account.cached if asked else 0)

    def correct(self, role: Role, late: Late) -> None:
        """Charge what the server said after the last step that was charged, or take back what was too much."""
        account, counts = self._accounts[role], late.counts
        prompt = max(counts.prompt, -account.prompt) if account.start == late.start else 0
        completion = max(counts.completion, -account.written)
        account.add(prompt, completion)
        account.late += completion
        account.usage.estimated = account.usage.estimated or counts.estimated
        account.estimated = False

    def judge(self, texts: Texts, readings: Sequence[Reading]) -> None:
        """Charge the judge for scoring the last of these texts.

        Args:
            texts: kept steps, then the scored one.
            readings: of each of them, what a call that ends with it takes.
        """
        for count, reading in enumerate(readings, 1):
            if count == len(readings) or reading.written is not None:
                self._judge(texts[:count], reading)

    def _judge(self, texts: Texts, reading: Reading) -> None:
        account, tokens = self._accounts[Role.PRM], reading.tokens
        if texts in account.read:
            return
        known = min(tokens, account.known(texts))
        account.read[texts] = tokens
        account.usage.calls += 1
        account.usage.prompt_tokens += tokens if reading.rereads else tokens - known
        account.usage.cached_tokens += known if reading.rereads else 0
        account.usage.completion_tokens += reading.written or 0
        account.usage.estimated = account.usage.estimated or reading.estimated

    def total(self, kept: Iterable[Step]) -> dict[Role, Usage]:
        """The whole solution, of which these steps were kept."""
        tokens = dict.fromkeys(Role, 0)
        for step in kept:
            tokens[step.role] += as_count(step.tokens) or 0
        return {
            role: replace(
                account.usage,
                discarded_tokens=0 if role is Role.PRM else account.discarded(tokens[role]),
                estimated=account.usage.estimated or account.estimated,
            )
            for role, account in self._accounts.items()
        }
