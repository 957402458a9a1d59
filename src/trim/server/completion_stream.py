"""One answer being written: steps from the Router become pieces of text, cut at stop strings.

A stop string may begin in one step and end in another. So text that could be the beginning of one is held back until
it is certain, and what a client gets is the same whether it streams or not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from trim.routing.router import Router
from trim.routing.usage import Ledger
from trim.types import Decision, Question, Role, StopReason, Trace

_CUT = (StopReason.STEP_LIMIT, StopReason.STEP_LENGTH, StopReason.MAX_TOKENS)


@dataclass(frozen=True, slots=True)
class Piece:
    """Text to hand over, and the decision that it comes from; None: what was held back. `raw` is a choice's part of a
    chunk, of an answer that is passed through.
    """

    text: str
    decision: Decision | None = None
    raw: dict[str, Any] | None = None


class Stops:
    """Finds the first stop string in a growing text."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self.found = False
        self._stops = stops
        self._held = ""

    def feed(self, text: str) -> str:
        """What may be handed over."""
        text = self._held + text
        ends = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.found, self._held = True, ""
            return text[: min(ends)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """What was held back; the text is over."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How many of the last characters of the text begin the stop string."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


class Answer:
    """One answer (a choice, in OpenAI's words).

    Args:
        router: routes.
        question: what is asked.
        seed: of this answer.
        stops: strings that end the text.

    `ledger` holds what was spent at any time, also when the answer fails or is left.
    """

    def __init__(self, router: Router, question: Question, seed: int, stops: tuple[str, ...] = ()) -> None:
        self.ledger = Ledger()
        self.decisions: list[Decision] = []
        self.trace: Trace | None = None
        self.finish = "stop"  # or "length"
        self.router = router
        self.seed = seed
        self._question = question
        self._stops = Stops(stops)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The text as it is decided.

        Raises:
            BackendError: a backend failed and nobody stands in for it.
        """
        async with aclosing(self.router.stream(self._question, seed=self.seed, ledger=self.ledger)) as items:
            async for item in items:
                if isinstance(item, Trace):
                    self.trace = item
                    self.finish = "length" if item.stop_reason in _CUT else "stop"
                    continue
                joiner = self.router.form.joiner if self.decisions else ""
                self.decisions.append(item)
                yield Piece(self._stops.feed(joiner + item.step.text), item)
                if self._stops.found:
                    return
        if rest := self._stops.rest():
            yield Piece(rest)

    @property
    def cost(self) -> float:
        """The bill so far."""
        return self.router.prices.of(self.ledger.usage)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt as the first request for it counted them."""
        for decision in self.decisions[:1]:
            first = decision.rejected[0].step if decision.rejected else decision.step
            return first.prompt_tokens
        return 0

    @property
    def tokens(self) -> int:
        """Tokens of the kept steps."""
        return sum(decision.step.tokens for decision in self.decisions)

    @property
    def strong_tokens(self) -> int:
        """All that the strong model has written."""
        return self.ledger.usage[Role.STRONG].completion_tokens
