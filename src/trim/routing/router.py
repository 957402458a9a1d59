"""Routing every step of a solution between a weak and a strong model, under a policy and a budget.

The weak model writes one open stream; its steps are judged while the next is being written (`lookahead` steps ahead at
most; 0 is the paper's stop-and-go, a request per step). What a decision rejects is dropped with everything drafted past
it, so decisions and kept text do not depend on `lookahead`; only the clock and the discarded tokens do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from trim.routing.solution import Setup, Solution
from trim.routing.usage import Ledger
from trim.types import Decision, Question, Trace


class Router(Setup):
    """Routes every step of a solution between a weak and a strong model.

    Args:
        weak, strong: the two generators.
        prm: the judge; None is enough for policies that use no scores.
        policy: decides what happens to each draft.
        form: how solutions are cut into steps and end.
        budget: hard caps per question.
        prices: turn usage into money; a cost is not known where one is missing.
        limits: steps, drafts per step, lookahead.
        on_error: what follows when a role fails.

    Raises:
        ConfigError: the policy uses scores, and there is no judge; the budget has a cost, and a price is missing.

    One Router serves any number of questions at the same time.
    """

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        """Solve one question.

        Raises:
            BackendError: a model failed and `on_error` says raise.
        """
        async with aclosing(self.stream(question, seed=seed)) as items:
            async for item in items:
                if isinstance(item, Trace):
                    return item
        raise AssertionError("a stream ends with its trace")

    async def stream(
        self, question: Question, *, seed: int = 0, ledger: Ledger | None = None
    ) -> AsyncGenerator[Decision | Trace, None]:
        """The decisions as they fall, then the trace. Closing the iterator cancels every request upstream.

        Args:
            question: what to solve.
            seed: of everything that is drawn.
            ledger: counts usage as it falls due; right too where no trace comes: after an error or an early close.
        """
        solution = Solution(self, question, seed, ledger or Ledger())
        try:
            while solution.stop is None:
                decision = await solution.advance()
                if decision is not None:
                    yield decision
        finally:
            await solution.close()
        yield solution.trace()
