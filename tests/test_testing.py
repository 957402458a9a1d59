"""The conformance checks accept correct implementations and catch faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from trim.backends.base import BaseBackend, BaseGenerator, step_stream
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Policy, Probe, StepStream
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.testing import ConformanceError, check_backend, check_generator, check_judge, check_policy
from trim.types import Action, Finish, Observation, Question, Role, Scores, Step, StepOptions, Usage

QUESTION = Question("long question 7")


@pytest.mark.parametrize(
    "policy",
    [AlwaysWeak(), AlwaysStrong(), RandomSteps(0.5), Threshold(0.0), Threshold(0.5, resamples=2), Threshold(1.0)],
)
def test_our_own_policies_conform(policy: Policy) -> None:
    check_policy(policy)


def test_our_own_models_conform() -> None:
    asyncio.run(check_generator(SimulatedModel(Role.WEAK, 0.8), QUESTION))
    asyncio.run(check_judge(SimulatedPrm(), QUESTION, ("a", "b", "c")))


@dataclass
class Wrong(BaseGenerator):
    """A generator with one fault."""

    steps_: tuple[Step, ...]

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        for step in self.steps_:
            yield step


def step(text: str, finish: Finish = Finish.SEPARATOR, tokens: int = 1) -> Step:
    return Step(text, Role.WEAK, tokens, finish)


@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        ((step("a"),), "at least two steps"),
        ((step("a"), step("b")), "finish EOS"),
        ((step("a", Finish.EOS), step("b", Finish.EOS)), "only the last step"),
        ((step("a", tokens=0), step("b", Finish.EOS)), "at least one token"),
        ((step("a"), step("b", Finish.EOS)), "must end with its separator"),
        ((step("a\n\n"), step("b", Finish.EOS)), "limit=1 gave 2"),
    ],
)
def test_faults_of_generators_are_caught(steps: tuple[Step, ...], rule: str) -> None:
    with pytest.raises(ConformanceError, match=rule):
        asyncio.run(check_generator(Wrong(steps), QUESTION))


def test_faults_of_prms_and_policies_are_caught() -> None:
    class Fickle(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            return Scores((1 / len(steps),) * len(steps))

    class Forgetful(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            return Scores((0.5,) * len(steps), up_to=(7 * len(steps),) * len(steps))

    for judge, words in ((Fickle(), "change the scores of"), (Forgetful(), "change up_to of")):
        with pytest.raises(ConformanceError, match=f"later steps {words} earlier ones"):
            asyncio.run(check_judge(judge, QUESTION, ("a", "b")))

    @dataclass
    class Stateful(Policy):
        name: str = "stateful"
        parameter: float | None = None
        uses_drafts: bool = True
        uses_scores: bool = True
        calls: int = 0

        def act(self, observation: Observation) -> Action:
            self.calls += 1
            return Action.CONTINUE if self.calls % 2 else Action.RESAMPLE

    with pytest.raises(ConformanceError, match="differently"):
        check_policy(Stateful())


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ({"identity": " "}, "identity is empty"),
        ({"usage": Usage(calls=-1)}, "negative counts"),
        ({"usage": property(lambda self: Usage())}, "same object"),
        ({"probe": lambda self, quick=False: _unreachable()}, "says what is wrong"),
    ],
)
def test_faults_of_backends_are_caught(members: dict[str, Any], rule: str) -> None:
    faulty: type[BaseBackend] = type("Faulty", (BaseBackend,), members)
    with pytest.raises(ConformanceError, match=rule):
        asyncio.run(check_backend(faulty()))


async def _unreachable() -> Probe:
    return Probe("nowhere")


def test_a_generator_that_counts_nothing_is_caught() -> None:
    class Silent(Wrong):
        @property
        def usage(self) -> Usage:
            return self._never

        _never = Usage()

        def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> StepStream:
            return Wrong(self.steps_).steps(question, kept, options)

    with pytest.raises(ConformanceError, match="does not count calls"):
        asyncio.run(check_generator(Silent((step("a"), step("b", Finish.EOS))), QUESTION))
