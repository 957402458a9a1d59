"""The seams of TRIM. Anything with these methods takes part; nothing needs to be inherited.

`trim.testing` has a check for each that third parties can run against their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

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

    A class that names this one as its base gets the defaults below; fields of a dataclass and properties override
    them. A class that does not must have all the members.
    """

    @property
    def name(self) -> str:
        """What traces and reports call it."""
        ...

    @property
    def parameter(self) -> float | None:
        """The one number that trades accuracy against cost; None: it has none."""
        return None

    @property
    def uses_drafts(self) -> bool:
        """False: the strong model writes everything, no draft is asked for."""
        return True

    @property
    def uses_scores(self) -> bool:
        """False: no judge is asked."""
        return True

    @property
    def max_revisions(self) -> int:
        """How often the strong model's text may be revised, by REVISE; 0: the policy is never asked about that text.

        With more it is, unless the text is a draft again (`Observation.strong_texts` counts the texts). The text with
        the best score is kept; any other action keeps it at once.
        """
        return 0

    def prepare(self) -> None:
        """Do the work that a first decision would wait for, such as solving. Called off the event loop."""
        return

    def act(self, observation: Observation) -> Action:
        """What to do with the draft on the table."""
        ...


@runtime_checkable
class Tunable(Policy, Protocol):
    """A policy whose strong share follows its parameter, so that a target share or spend can be held by moving it."""

    def at(self, parameter: float) -> Policy:
        """The same policy at another parameter.

        Raises:
            ConfigError: out of range.
        """
        ...

    def at_effort(self, effort: float, scores: Sequence[float]) -> Policy:
        """The policy at an effort in [0, 1]: 0 asks the strong model as rarely as it can, 1 as often as it can.

        Args:
            effort: in between, the strong share grows with it.
            scores: recent scores that decisions were made on, oldest first; fewer than 20 say nothing yet.
        """
        ...


class Solver(Protocol):
    """Whatever turns a question into a trace; the Router is one."""

    async def route(self, question: Question, *, seed: int = 0) -> Trace:
        """Solve one question."""
        ...
