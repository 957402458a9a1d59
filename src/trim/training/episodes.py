"""Training episodes: questions routed by a stochastic policy whose decisions are recorded. Needs no torch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from trim.policies.learned.features import Vector
from trim.policies.learned.policy import LearnedPolicy
from trim.protocols import Policy
from trim.routing.router import Router
from trim.tasks import Task
from trim.types import Action, Observation, Question, Role, Trace


@dataclass(frozen=True)
class Source:
    """Where episodes come from.

    Args:
        task: grades answers.
        questions: for training; each pass over them has another order.
        validation: held-out questions, for choosing the checkpoint.
        router: returns a Router over the open models for a policy.
        concurrency: questions routed at the same time.
    """

    task: Task
    questions: Sequence[Question]
    validation: Sequence[Question]
    router: Callable[[Policy], Router]
    concurrency: int = 1


@dataclass(frozen=True, slots=True)
class Transition:
    """A decision: its features, the index of the action, strong tokens spent before, weak tokens of the draft."""

    features: Vector
    action: int
    strong_tokens: int
    draft_tokens: int


@dataclass(frozen=True)
class Explorer(Policy):
    """Samples actions from a policy's distribution and records them; one explorer an episode.

    Args:
        policy: whose distribution.
        shift: added to the observation's uniform draw, modulo 1, so that one question and seed give other episodes.
    """

    policy: LearnedPolicy
    shift: float
    transitions: list[Transition] = field(default_factory=list)
    name: str = "explorer"
    uses_drafts: bool = True
    uses_scores: bool = True

    @property
    def parameter(self) -> float:
        """The price that the policy is explored at."""
        return self.policy.price

    def act(self, observation: Observation) -> Action:
        """An action with the probability that the policy gives it."""
        features = self.policy.read(observation)
        logits = self.policy.network(features).tolist()
        weights = np.exp(np.array(logits) - max(logits)).cumsum()
        draw = (observation.draw + self.shift) % 1.0
        index = int(np.searchsorted(weights, draw * weights[-1], side="right"))
        self.transitions.append(Transition(features, index, observation.strong_tokens, observation.tokens[-1]))
        return self.policy.actions[index]


@dataclass(frozen=True)
class Episode:
    """A question that was explored at a price. `rewards` has an entry for each of `transitions`."""

    price: float
    transitions: tuple[Transition, ...]
    rewards: tuple[float, ...]
    correct: bool
    strong_tokens: int

    @classmethod
    def of(cls, trace: Trace, transitions: Sequence[Transition], weak_price: float) -> Episode:
        """Rewards from the graded trace of an `Explorer`; `weak_price`: of a weak token relative to a strong one."""
        price, correct = trace.parameter or 0.0, bool(trace.correct)
        spent = [*(transition.strong_tokens for transition in transitions), trace.usage[Role.STRONG].completion_tokens]
        strong = [after - before for before, after in pairwise(spent)]
        weak = [weak_price * transition.draft_tokens for transition in transitions]
        rewards = [-price * (a + b) for a, b in zip(strong, weak, strict=True)]
        if rewards:
            rewards[-1] += correct
        return cls(price, tuple(transitions), tuple(rewards), correct, spent[-1])


async def solve(source: Source, jobs: Sequence[tuple[Policy, Question]], seed: int) -> list[Trace]:
    """Route and grade every question under its policy; traces in the order of the jobs."""
    traces: dict[int, Trace] = {}
    waiting = iter(enumerate(jobs))
    task = source.task

    async def worker() -> None:
        for index, (policy, question) in waiting:
            traces[index] = await source.router(policy).route(question, seed=seed)

    def graded() -> list[Trace]:
        ordered = (traces[index] for index in range(len(jobs)))
        return [replace(trace, correct=task.right(task.answer(trace.said), trace.question)) for trace in ordered]

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(source.concurrency, len(jobs))):
                group.create_task(worker())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return await asyncio.to_thread(graded)
