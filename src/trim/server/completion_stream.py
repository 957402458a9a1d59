"""One answer as it is written: the Router's steps become pieces of text, cut at stop strings.

A stop string may begin in one step and end in another. Text that could be the beginning of one is therefore held back
until that is certain, and a client gets the same text whether it streams or not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from trim.routing.router import Router
from trim.routing.usage import Ledger
from trim.server.allowance import AllowanceSpent
from trim.types import Decision, Field, Finish, Question, Role, StopReason, Trace
from trim.visible_text import reasons

_FINISH = {
    StopReason.STEP_LIMIT: "length",
    StopReason.MAX_TOKENS: "length",
    StopReason.REPETITION: "length",
    StopReason.INPUT_TOO_LONG: "length",
    StopReason.CONTENT_FILTER: "content_filter",
}


@dataclass(frozen=True, slots=True)
class Delta:
    """New text of an answer, and the decision that it comes from; None: text that was held back. `refusal` is text in
    which a model refuses to answer, `reasoning` text that came in the field `reasoning_field`. `raw` is a choice's part
    of a chunk, of an answer that is passed through.
    """

    text: str
    decision: Decision | None = None
    refusal: str = ""
    reasoning: str = ""
    reasoning_field: Field = "reasoning_content"
    raw: dict[str, Any] | None = None

    @property
    def length(self) -> int:
        """Characters of its texts."""
        return len(self.text) + len(self.reasoning) + len(self.refusal)


class StopStrings:
    """Finds the first stop string in a growing text."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self.found = False
        self._stops = stops
        self._held_back = ""

    def feed(self, text: str) -> str:
        """Append text; returns what is certain to stand before a stop string."""
        text = self._held_back + text
        ends = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.found, self._held_back = True, ""
            return text[: min(ends)]
        length = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held_back = text[len(text) - length :]
        return text[: len(text) - length]

    def rest(self) -> str:
        """What was held back, once the text has ended."""
        rest, self._held_back = self._held_back, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """How many of the last characters of the text begin the stop string."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


class Answer:
    """One answer to a question, a choice in OpenAI's API.

    Args:
        router: routes its steps.
        question: the question.
        seed: of this answer.
        ledger: has the usage at any time, also if the answer fails or is cancelled.
        stops: strings that end the text.
    """

    def __init__(
        self, router: Router, question: Question, seed: int, ledger: Ledger, stops: tuple[str, ...] = ()
    ) -> None:
        self.ledger = ledger
        self.decisions: list[Decision] = []
        self.trace: Trace | None = None
        self.finish = "stop"  # or "length", "content_filter"
        self.refusal = ""
        self.router = router
        self.seed = seed
        self._question = question
        self._stops = StopStrings(stops)

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """The text as it is decided.

        Raises:
            BackendError: a backend failed and there is no fallback.
        """
        async with aclosing(self._items()) as items:
            async for item in items:
                if isinstance(item, Trace):
                    self.trace = item
                    self.finish = _FINISH.get(item.stop_reason, "stop")
                    if delta := self._end(item):
                        yield delta
                    continue
                self.decisions.append(item)
                if item.step.finish is Finish.REFUSAL:
                    self.refusal = item.step.text
                    yield Delta(self._stops.rest(), item, refusal=self.refusal)
                    continue
                yield self._delta(item)
                if self._stops.found:
                    return
        if rest := self._stops.rest():
            yield Delta(rest)

    async def _items(self) -> AsyncGenerator[Decision | Trace, None]:
        """What the Router gives; the answer ends, cut off, where a cap on spend leaves nothing for more."""
        async with aclosing(self.router.stream(self._question, seed=self.seed, ledger=self.ledger)) as items:
            try:
                async for item in items:
                    yield item
            except AllowanceSpent:
                self.finish = "length"

    def _delta(self, decision: Decision) -> Delta:
        """A kept step as a client gets it. Stop strings end the answer, not what was thought before it."""
        step = decision.step
        if step.field == "content":
            return Delta(self._stops.feed(step.inserted + step.text), decision)
        return Delta("", decision, reasoning=step.text, reasoning_field=step.field)

    def _end(self, trace: Trace) -> Delta | None:
        """White space behind the last step."""
        newest = self.decisions[-1].step if self.decisions else None
        self.decisions = [*trace.decisions]
        if newest is None or not (end := trace.decisions[-1].step.text[len(newest.text) :]):
            return None
        if newest.field != "content":
            return Delta("", reasoning=end, reasoning_field=newest.field)
        sure = self._stops.feed(end)
        return Delta(sure) if sure else None

    @property
    def reasoning(self) -> dict[str, str]:
        """The reasoning of the kept steps, by the field that it came in."""
        texts: dict[str, str] = {}
        for decision in self.decisions:
            if (step := decision.step).field != "content":
                texts[step.field] = texts.get(step.field, "") + step.text
        return texts

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of the kept steps that are reasoning: in a field of their own, or that begin or end inside marks."""
        steps = (decision.step for decision in self.decisions)
        return sum(s.tokens for s in steps if s.field != "content" or s.reasoning or reasons(s.text))

    @property
    def cost(self) -> float | None:
        """The total cost so far, in dollars; None: a price is not known."""
        return self.router.prices.of(self.ledger.usage)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, as counted by the first request for it; 0 before the first decision."""
        for decision in self.decisions[:1]:
            first = decision.rejected[0].step if decision.rejected else decision.step
            return self.ledger.charged.question_tokens(first.role) or first.prompt_tokens
        return 0

    @property
    def tokens(self) -> int:
        """Tokens of the kept steps."""
        return sum(decision.step.tokens for decision in self.decisions)

    @property
    def strong_tokens(self) -> int:
        """Completion tokens of the strong model, kept or not."""
        return self.ledger.usage[Role.STRONG].completion_tokens
