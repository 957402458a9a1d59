"""Scripted and failing models for tests of the step loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from trim.backends.base import BaseBackend, BaseGenerator, step_stream
from trim.errors import BackendUnavailable
from trim.protocols import Policy
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.types import (
    Action,
    Finish,
    Observation,
    Question,
    Role,
    Scores,
    Step,
    StepOptions,
    Trace,
)

WEAK = SimulatedModel(Role.WEAK, 0.8)
STRONG = SimulatedModel(Role.STRONG, 0.97)
PRM = SimulatedPrm(0.9)


def run(router: Router, text: str = "q", seed: int = 0) -> Trace:
    return asyncio.run(router.route(Question(text), seed=seed))


@dataclass
class Scripted(BaseGenerator):
    """A generator that writes given steps: `script[len(kept)]` is what it goes on with."""

    script: dict[int, list[Step]]
    closed: int = 0
    options: list[StepOptions] = field(default_factory=list)
    prefixes: list[tuple[str, ...]] = field(default_factory=list)

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        self.options.append(options)
        self.prefixes.append(kept)
        try:
            for step in self.script.get(len(kept), [])[: options.limit]:
                yield step
        finally:
            self.closed += 1


def weak(content: str, finish: Finish = Finish.SEPARATOR, tokens: int = 5) -> Step:
    return Step(_written(content, finish), Role.WEAK, tokens, finish)


def strong(content: str, finish: Finish = Finish.SEPARATOR, tokens: int = 5) -> Step:
    return Step(_written(content, finish), Role.STRONG, tokens, finish)


def _written(content: str, finish: Finish) -> str:
    return content + "\n\n" if finish is Finish.SEPARATOR else content


@dataclass
class FixedPrm(BaseBackend):
    """Scores by text; 1 for anything else."""

    scores: dict[str, float]
    calls: int = 0

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        self.calls += 1
        read = tuple(10 * (index + 1) for index in range(len(steps)))
        return Scores(tuple(self.scores.get(step, 1.0) for step in steps), read[-1], up_to=read)


@dataclass(frozen=True)
class Always(Policy):
    """One action whatever it sees."""

    action: Action
    name: str = "always"
    parameter: float | None = None
    uses_drafts: bool = True
    uses_scores: bool = False

    def act(self, observation: Observation) -> Action:
        return self.action


def check_accounts(trace: Trace) -> None:
    """Every decoded token is either kept or discarded."""
    for role in (Role.WEAK, Role.STRONG):
        kept = sum(step.tokens for step in trace.steps if step.role is role)
        usage = trace.usage[role]
        assert usage.completion_tokens == kept + usage.discarded_tokens
        assert usage.discarded_tokens >= 0


@dataclass
class Broken(BaseGenerator):
    """Fails after some good calls."""

    good: int = 0
    inner: SimulatedModel = WEAK

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        written = len(kept)
        async for step in self.inner.steps(question, kept, options):
            if written >= self.good:
                raise BackendUnavailable(f"{self.inner.role.value} model", "connection refused")
            written += 1
            yield step

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        if len(steps) > self.good:
            raise BackendUnavailable("process reward model", "connection refused")
        return await PRM.score(question, steps)
