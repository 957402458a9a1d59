r"""Optional base classes for models and judges of your own. Standard library only.

A generator in a few lines:

    class Echo(BaseGenerator):
        identity = "echo"

        @step_stream
        async def steps(self, question, kept, options=StepOptions()):
            if not kept:
                yield Step("2 + 2 = 4\n\n", Role.WEAK, tokens=8)  # with its separator
            yield Step("#### 4", Role.WEAK, tokens=3, finish=Finish.EOS)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import cached_property
from typing import Concatenate, ParamSpec, TypeGuard, TypeVar

from trim import plugins
from trim.backends.token_counts import sound
from trim.errors import ConfigError
from trim.protocols import Backend, Judge, LateCounts, Probe, StepGenerator, StepJudge, StepStream
from trim.types import Question, Sampling, Scores, Step, Usage

_Model = TypeVar("_Model", bound=Backend)
_Rest = ParamSpec("_Rest")


class BaseBackend:
    """A backend in this process that is always there: named after its class, counts usage, has nothing to close."""

    @property
    def identity(self) -> str:
        """The reference to the class; set a better one where there are several of it."""
        return plugins.reference_of(type(self))

    @cached_property
    def usage(self) -> Usage:
        """Starts at zero; `step_stream` adds to it, a judge adds what it reads."""
        return Usage()

    def prepare(self) -> None:
        """Nothing has to be prepared."""

    async def probe(self, *, quick: bool = False) -> Probe:
        """It was loaded, so it is there."""
        return Probe(self.identity, reachable=True)

    async def aclose(self) -> None:
        """Nothing has to be closed."""


class BaseGenerator(BaseBackend):
    """A `BaseBackend` that generates steps, with a sampling of its own."""

    def sampled(self, sampling: Sampling) -> StepGenerator:
        """Refuse: this model's sampling cannot be changed.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.identity}: its sampling cannot be changed")


class WrappedBackend:
    """Passes everything that a `Backend` offers on to another one; subclasses add `steps` or `score`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def wrapped(self) -> Backend:
        """The other one."""
        return self._backend

    @property
    def identity(self) -> str:
        """What the other one is called."""
        return self._backend.identity

    @property
    def usage(self) -> Usage:
        """What the other one has used."""
        return self._backend.usage

    def prepare(self) -> None:
        """Prepare the other one."""
        self._backend.prepare()

    async def probe(self, *, quick: bool = False) -> Probe:
        """Try the other one."""
        return await self._backend.probe(quick=quick)

    async def aclose(self) -> None:
        """Close the other one."""
        await self._backend.aclose()


def innermost(backend: Backend) -> Backend:
    """What does the work, behind whatever wraps it."""
    while isinstance(backend, WrappedBackend):
        backend = backend._backend
    return backend


async def score_steps(judge: Judge, question: Question, steps: tuple[Step, ...]) -> Scores:
    """The judge's scores of steps; it is given as much of them as it needs."""
    if _takes_steps(judge):
        return await judge.score_steps(question, steps)
    return await judge.score(question, tuple(step.content for step in steps))


_STEP_JUDGES: dict[type, bool] = {}  # what is known of classes: to ask an instance takes long, and each step asks


def _takes_steps(judge: Judge) -> TypeGuard[StepJudge]:
    kind = type(judge)
    if kind not in _STEP_JUDGES:
        _STEP_JUDGES[kind] = isinstance(judge, StepJudge)
    return _STEP_JUDGES[kind]


def step_stream(
    write: Callable[Concatenate[_Model, _Rest], AsyncIterator[Step]],
) -> Callable[Concatenate[_Model, _Rest], StepStream]:
    """Make `steps` of a `StepGenerator` from an asynchronous generator method.

    The generator is closed when its stream is, wherever it waits. Calls and tokens are added to the model's `usage`.
    """

    def steps(model: _Model, /, *args: _Rest.args, **kwargs: _Rest.kwargs) -> StepStream:
        return _GeneratedSteps(write(model, *args, **kwargs), model.usage)

    steps.__doc__ = write.__doc__
    return steps


class _GeneratedSteps:
    """The stream of an asynchronous generator, which cannot say what it has read of an unfinished step."""

    pending_tokens = 0

    def __init__(self, steps: AsyncIterator[Step], usage: Usage) -> None:
        self._steps = steps
        self._usage = usage
        self._started = False
        self._estimated = False

    @property
    def late_counts(self) -> LateCounts:
        """Its steps say all."""
        return LateCounts(estimated=self._estimated)

    def __aiter__(self) -> _GeneratedSteps:
        return self

    async def __anext__(self) -> Step:
        self._usage.calls += not self._started
        self._started = True
        step = sound(await anext(self._steps))
        self._usage.prompt_tokens += step.prompt_tokens
        self._usage.cached_tokens += step.cached_tokens
        self._usage.completion_tokens += step.tokens
        self._estimated = self._estimated or step.estimated
        self._usage.estimated = self._usage.estimated or step.estimated
        return step

    async def aclose(self) -> None:
        """Close the generator, so that its `finally` blocks run."""
        if isinstance(self._steps, AsyncGenerator):
            await self._steps.aclose()
