"""What a model, a judge and a policy must offer to take part. Nothing has to be inherited.

`trim.backends.base` has optional base classes, `trim.testing` a check of each protocol for implementations of your own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trim.types import Action, Observation, Question, Sampling, Scores, Step, StepOptions, Trace, Usage


@dataclass(frozen=True, slots=True)
class Probe:
    """What a backend turned out to do; None: not tried, or does not apply. `problem` is the first thing that failed, in
    one sentence with what to do about it; `context` is in tokens, `first_text` in seconds.
    """

    server: str
    reachable: bool = False
    models: tuple[str, ...] | None = None  # that the server lists
    streaming: bool | None = None  # the answer came in several chunks
    stop: bool | None = None  # a stop string ends the text
    stop_told: bool | None = None  # and is told from the end of the solution
    end_told: bool | None = None  # every answer said why it ended
    usage: bool | None = None  # token counts at the end
    running_usage: bool | None = None  # token counts in every chunk
    cached: bool | None = None  # says how many prompt tokens a prefix cache held
    continuation: bool | None = None  # a partial answer is continued, not begun again
    repeats_prefix: bool | None = None  # its continuation in a chat begins with the partial answer
    logprobs: bool | None = None  # of the tokens that it writes
    pooling: bool | None = None  # one score per step mark
    prompt_logprobs: bool | None = None
    order: tuple[float, float] | None = None  # a judge's scores of a step that is plainly right, and plainly wrong
    context: int | None = None
    template: str = ""  # the chat template, and where it comes from
    first_text: float | None = None
    tokens_per_second: float | None = None
    notes: tuple[str, ...] = ()  # what is worth knowing and no problem
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class LateCounts:
    """What is missing from the counts of a stream's steps: the prompt of a request that gave none, and what its server
    said after a step was handed over. Below 0 where the estimate of a step was too high.

    `prompt` and `cached` (those of them that came from a prefix cache) are prompt tokens, `completion` completion
    tokens. `estimated`: with these, the sums over the stream are still estimates.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    estimated: bool = False


class Backend(Protocol):
    """A model that is open: behind a server or in this process.

    `identity` is what results, saved policies and reports call it: kind, model, and where it runs or which weights it
    has. `usage` is measured: it counts calls and tokens of all requests since it was opened, whatever became of them;
    what is discarded a backend cannot know. What a solution is charged for is counted by rule, in `Trace.usage`.

    A class of your own is named in a configuration (`[weak] backend = "models.py:MyModel"`, `[prm] backend =
    "judges:MyJudge"`, or an entry point in `trim.backends` or `trim.scorers`) and called with one argument, the
    resolved settings of its role (`trim.config.specs`): model, base_url, api_key_env, timeout and so on.

        class MyJudge(BaseBackend):
            def __init__(self, spec: JudgeSpec) -> None:
                self.model = load(spec.model)
    """

    @property
    def identity(self) -> str: ...
    @property
    def usage(self) -> Usage: ...

    def prepare(self) -> None:
        """Do now what the first request would otherwise wait for, such as imports. Called inside the event loop."""
        ...

    async def probe(self, *, quick: bool = False) -> Probe:
        """Try it. `quick`: only whether it answers at all, without generating or scoring, for readiness checks.

        Never raises a `BackendError`: what failed is in `Probe.problem`.
        """
        ...

    async def aclose(self) -> None:
        """Close connections and stop threads."""
        ...


class StepStream(Protocol):
    """The steps of one solution as they are written."""

    @property
    def pending_tokens(self) -> int:
        """Completion tokens read that are in none of the steps handed over, so that what is thrown away is counted."""
        ...

    @property
    def late_counts(self) -> LateCounts:
        """With the steps handed over and `pending_tokens`, these add up to what the stream's requests have used."""
        ...

    def __aiter__(self) -> StepStream: ...

    async def __anext__(self) -> Step: ...

    async def aclose(self) -> None:
        """Cancel the request upstream."""
        ...


class StepGenerator(Backend, Protocol):
    """A model that continues a solution step by step. `trim.backends.base.step_stream` makes one of an asynchronous
    generator.
    """

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = ...) -> StepStream:
        """Finished steps that continue `kept` until the solution ends or `options` says stop.

        The text of a step includes the separator behind it, such as a blank line: the texts of all steps, joined, are
        what the model wrote, and those of `kept`, joined, what it has to continue.

        The last step of a solution has finish EOS. Closing the stream (or cancelling a pull) cancels the request
        upstream.

        Raises:
            BackendError: the server failed; names it. Raised while the stream is read.
        """
        ...

    def sampled(self, sampling: Sampling) -> StepGenerator:
        """The same model over the same connections, with tokens chosen in another way.

        Raises:
            ConfigError: the sampling of this model is fixed.
        """
        ...


class Judge(Backend, Protocol):
    """Scores the steps of a solution: a process reward model (PRM), an LLM judge, a likelihood."""

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """P(correct) for every one of `steps`: exactly `len(steps)` values in [0, 1].

        Raises:
            InputTooLong: the text does not fit; never truncated.
            BackendError: anything else; an answer with another number of scores is a `BadResponse`.
        """
        ...


@runtime_checkable
class StepJudge(Judge, Protocol):
    """A judge that needs more of a step than its text, such as the log-probabilities that its model gave with it.

    `score`, which has text alone, may refuse with a `ConfigError`.
    """

    async def score_steps(self, question: Question, steps: tuple[Step, ...]) -> Scores:
        """The same for steps as their models wrote them."""
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
