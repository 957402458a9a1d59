"""The seams of TRIM. Anything with these methods takes part; nothing needs to be inherited.

`trim.testing` has a check for each that third parties can run against their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from trim.types import Action, Observation, Question, Scores, Step, StepOptions, Trace


class StepGenerator(Protocol):
    """A model that continues a solution step by step."""

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = ...) -> AsyncIterator[Step]:
        """Yield finished steps that continue `kept` until the solution ends or `options` says stop.

        The last step of a solution has finish EOS. Closing the iterator (or cancelling a pull) cancels the request
        upstream. An iterator that knows how many tokens of an unfinished step it has already read offers them as
        `pending_tokens`, so that what is thrown away is counted. A generator whose sampling can be chosen offers
        `sampled(sampling)`, the same model with another one.

        Raises:
            BackendError: the server failed; names it.
        """
        ...


class ProcessRewardModel(Protocol):
    """A judge of steps."""

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """P(correct) for every one of `steps`: exactly `len(steps)` values in [0, 1].

        Raises:
            InputTooLong: the text does not fit; never truncated.
            BackendError: anything else; an answer with another number of scores is a `BadResponse`.
        """
        ...


class Policy(Protocol):
    """A pure function from observation to action: synchronous, no text, no I/O, no state between calls.

    `uses_drafts` False: the strong model writes everything, no draft is asked for. `uses_scores` False: no PRM call.
    A policy with an attribute `revisions` above 0 is asked about the strong model's text too
    (`Observation.strong_texts` counts them), unless that is a draft again: REVISE has it written once more, so often
    at most, and the best-scored text is kept; anything else keeps it at once.
    """

    @property
    def name(self) -> str: ...
    @property
    def parameter(self) -> float | None: ...
    @property
    def uses_drafts(self) -> bool: ...
    @property
    def uses_scores(self) -> bool: ...

    def act(self, observation: Observation) -> Action:
        """What to do with the draft on the table."""
        ...


class Solver(Protocol):
    """Whatever turns a question into a trace; the Router is one."""

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        """Solve one question."""
        ...
