"""Routing every step of a solution between a weak and a strong model, under a policy and a budget.

The weak model writes one open stream; its steps are judged while the next is being written (`lookahead` steps ahead at
most; 0 is the paper's stop-and-go, a request per step). What a decision rejects is dropped with everything drafted past
it, so decisions and kept text do not depend on `lookahead`; only the clock and the discarded tokens do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from trim.errors import ConfigError
from trim.protocols import Judge, Policy, StepGenerator
from trim.routing.limits import Limits, OnError
from trim.routing.solution import Setup, Solution
from trim.routing.usage import Ledger
from trim.steps import StepFormat
from trim.types import Budget, Decision, Prices, Question, Trace


class Router:
    """Routes every step of a solution between a weak and a strong model.

    Args:
        weak, strong: the two generators.
        prm: the judge; None is enough for policies that use no scores.
        policy: decides what happens to each draft.
        form: how solutions are cut into steps and end.
        budget: hard caps per question.
        prices: turn usage into money.
        limits: steps, drafts per step, lookahead.
        on_error: what follows when a role fails.

    One Router serves any number of questions at the same time.
    """

    def __init__(
        self,
        weak: StepGenerator,
        strong: StepGenerator,
        prm: Judge | None,
        policy: Policy,
        *,
        form: StepFormat | None = None,
        budget: Budget | None = None,
        prices: Prices | None = None,
        limits: Limits | None = None,
        on_error: OnError | None = None,
    ) -> None:
        if policy.uses_scores and prm is None:
            raise ConfigError(f"policy {policy.name} needs a process reward model")
        self.weak = weak
        self.strong = strong
        self.prm = prm
        self.policy = policy
        self.form = form or StepFormat()
        self.budget = budget or Budget()
        self.prices = prices or Prices()
        self.limits = limits or Limits()
        self.on_error = on_error or OnError()

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
        setup = Setup(
            self.weak,
            self.strong,
            self.prm,
            self.policy,
            self.form,
            self.budget,
            self.prices,
            self.limits,
            self.on_error,
        )
        solution = Solution(setup, question, seed, ledger or Ledger())
        try:
            while solution.stop is None:
                decision = await solution.advance()
                if decision is not None:
                    yield decision
        finally:
            await solution.close()
        yield solution.trace()
