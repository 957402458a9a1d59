"""What is charged follows from what was decided: by hand, and however much is read ahead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.money import dollars
from tests.routing.models import PRM, STRONG, WEAK, FixedPrm, Scripted, run, strong, weak
from trim.errors import InputTooLong
from trim.policies import RandomSteps, Threshold
from trim.protocols import LateCounts, Policy
from trim.routing.charges import Charges, Late, Reading
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.simulation import SimulatedPrm
from trim.types import Budget, Finish, Price, Prices, Question, Role, Scores, Step, Trace, Usage

ASKED_WEAK = replace(WEAK, question_tokens=30)
ASKED_STRONG = replace(STRONG, question_tokens=30)
PRICES = Prices(Price(1.0, 4.0, 0.1), Price(20.0, 80.0, 2.0), Price(1.0, cached=0.5))


def written(charges: Charges, role: Role, kept: tuple[str, ...], text: str, *, tokens: int, prompt: int) -> Step:
    return charges.write(Step(text, role, tokens, prompt_tokens=prompt, cached_tokens=prompt), kept)


def test_a_prompt_is_charged_where_a_model_does_not_go_on_from_its_own_text() -> None:
    charges = Charges()
    first = written(charges, Role.WEAK, (), "a", tokens=5, prompt=30)
    assert (first.prompt_tokens, first.cached_tokens) == (30, 0)  # whatever the server had cached for others
    second = written(charges, Role.WEAK, ("a",), "b", tokens=6, prompt=35)  # asked step by step, so told again
    assert (second.prompt_tokens, second.cached_tokens) == (0, 0)
    rewritten = written(charges, Role.STRONG, ("a",), "B", tokens=8, prompt=36)
    assert (rewritten.prompt_tokens, rewritten.cached_tokens) == (36, 0)  # nobody else's cache
    third = written(charges, Role.WEAK, ("a", "B"), "c", tokens=7, prompt=43)
    assert (third.prompt_tokens, third.cached_tokens) == (43, 35)
    again = written(charges, Role.STRONG, ("a", "B", "c"), "D", tokens=9, prompt=50)
    assert (again.prompt_tokens, again.cached_tokens) == (50, 44)  # its own answer is cached too
    another = written(charges, Role.STRONG, ("a", "B", "c"), "E", tokens=9, prompt=50)
    assert (another.prompt_tokens, another.cached_tokens) == (50, 50)
    usage = charges.total([first, rewritten, third, another])
    assert usage[Role.WEAK] == Usage(2, 73, 35, 18, 6)
    assert usage[Role.STRONG] == Usage(3, 136, 94, 26, 9)


def test_a_prompt_that_is_told_late_is_charged_once() -> None:
    charges = Charges()
    assert written(charges, Role.WEAK, (), "a", tokens=5, prompt=0).prompt_tokens == 0
    assert written(charges, Role.WEAK, ("a",), "b", tokens=5, prompt=30).prompt_tokens == 30
    assert written(charges, Role.WEAK, ("a", "b"), "c", tokens=5, prompt=0).prompt_tokens == 0
    later = written(charges, Role.WEAK, ("a", "b"), "d", tokens=5, prompt=41)
    assert (later.prompt_tokens, later.cached_tokens) == (41, 40)


def test_what_a_server_says_behind_the_last_step_is_charged_with_it() -> None:
    charges, kept = Charges(), ("a", "b")
    written(charges, Role.WEAK, (), "a", tokens=5, prompt=30)
    written(charges, Role.WEAK, ("a",), "b", tokens=5, prompt=0)
    charges.correct(Role.WEAK, Late((), LateCounts(prompt=2, cached=9, completion=-1)))
    assert charges.usage[Role.WEAK] == Usage(1, 32, 0, 9)
    charges.correct(Role.WEAK, Late(("a",), LateCounts(prompt=7, estimated=True)))  # a prompt that is not charged
    total = charges.total([Step(text, Role.WEAK, 5) for text in kept])
    assert total[Role.WEAK] == Usage(1, 32, 0, 9, 0, estimated=True)
    later = written(charges, Role.WEAK, (*kept, "C"), "d", tokens=5, prompt=50)
    assert (later.prompt_tokens, later.cached_tokens) == (50, 41)


COUNT = st.one_of(st.integers(-50, 200), st.sampled_from([float("nan"), 1e400, "7", None]))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Role.WEAK, Role.STRONG]),
            COUNT,
            COUNT,
            st.builds(LateCounts, *[st.integers(-300, 300)] * 3, st.booleans()),
            st.booleans(),
        ),
        max_size=12,
    )
)
@settings(deadline=None, max_examples=200)
def test_whatever_servers_say_nothing_is_charged_below_zero(
    texts: list[tuple[Role, Any, Any, LateCounts, bool]],
) -> None:
    charges, steps = Charges(), list[Step]()
    kept: tuple[str, ...] = ()
    for index, (role, prompt, tokens, late, keeps) in enumerate(texts):
        start: tuple[str, ...] = kept
        step = charges.write(Step(str(index), role, tokens, prompt_tokens=prompt), kept)
        charges.correct(role, Late(start, late))
        if keeps:
            kept = (*kept, step.text)
            steps.append(step)
    usage = charges.total(steps)
    for used in usage.values():
        assert 0 <= used.cached_tokens <= used.prompt_tokens
        assert 0 <= used.discarded_tokens <= used.completion_tokens
    assert dollars(PRICES.of(usage)) >= 0


def test_the_judge_is_charged_once_for_each_text() -> None:
    keeping, rereading = Charges(), Charges()
    for charges, rereads in (keeping, False), (rereading, True):
        for texts, tokens in (("a",), 40), (("a", "b"), 50), (("a", "b"), 50), (("a", "B", "c"), 70):
            charges.judge(texts, [Reading(), Reading(), Reading(tokens, rereads)][-len(texts) :])
    assert keeping.usage[Role.PRM] == Usage(3, 40 + 10 + 30)
    assert rereading.usage[Role.PRM] == Usage(3, 40 + 50 + 70, 40 + 40)


def test_a_judge_that_answers_in_words_is_charged_for_them_and_for_each_kept_step() -> None:
    charges, first, other, second = Charges(), Reading(40, written=2), Reading(52, written=3), Reading(60, written=1)
    charges.judge(("a",), [first])
    charges.judge(("a", "b"), [first, Reading(50, written=4)])
    charges.judge(("a", "B", "c"), [first, other, second])  # what another model wrote is judged with what follows it
    assert charges.usage[Role.PRM] == Usage(4, 40 + 50 + 52 + 60, 40 + 40 + 52, 2 + 4 + 3 + 1)
    assert charges.total([])[Role.PRM].discarded_tokens == 0


POLICIES = [
    Threshold(0.3),
    Threshold(0.7),
    Threshold(0.6, resamples=2),
    Threshold(0.7, resamples=1, max_revisions=1),
    RandomSteps(0.4),
]


@given(
    st.text(min_size=1, max_size=5),
    st.integers(0, 2**31),
    st.sampled_from(POLICIES),
    st.sampled_from([Budget(), Budget(max_strong_tokens=130), Budget(max_cost=0.009)]),
)
@settings(deadline=None, max_examples=60)
def test_charges_depend_neither_on_lookahead_nor_on_speed(text: str, seed: int, policy: Policy, budget: Budget) -> None:
    def solved(lookahead: int, seconds: float = 0.0) -> Trace:
        weak_model, judge = replace(ASKED_WEAK, token_seconds=seconds), SimulatedPrm(0.9, seconds=seconds * 3)
        limits = Limits(lookahead=lookahead, max_drafts=3)
        router = Router(weak_model, ASKED_STRONG, judge, policy, budget=budget, prices=PRICES, limits=limits)
        trace = run(router, text, seed)
        # What is measured is what the backends have counted, whatever became of it.
        for model, role in ((weak_model, Role.WEAK), (judge, Role.PRM)):
            measured = trace.measured[role]
            assert model.usage.completion_tokens == measured.completion_tokens
            assert model.usage.prompt_tokens == measured.prompt_tokens
        return trace

    one = solved(0)
    for other in (solved(1), solved(4), solved(4, 1e-6)):
        assert (other.usage, other.cost, other.decisions) == (one.usage, one.cost, one.decisions)
        for role in Role:
            assert 0 <= other.usage[role].cached_tokens <= other.usage[role].prompt_tokens
            assert other.measured[role].completion_tokens >= other.usage[role].completion_tokens
    assert one.cost == PRICES.of(one.usage)
    assert one.measured_cost == PRICES.of(one.measured)
    for role in (Role.WEAK, Role.STRONG):
        steps = [step for d in one.decisions for step in (d.step, *(r.step for r in d.rejected)) if step.role is role]
        usage = one.usage[role]
        if budget == Budget():  # what a budget cut off is no step
            assert usage.prompt_tokens == sum(step.prompt_tokens for step in steps)
            assert usage.completion_tokens == sum(step.tokens for step in steps)
        kept = sum(step.tokens for step in one.steps if step.role is role)
        assert usage.completion_tokens == kept + usage.discarded_tokens


@pytest.mark.parametrize("lookahead", [0, 1, 4])
@pytest.mark.parametrize(
    ("script", "completion", "prompt"),
    [
        ({0: [weak("a"), weak("")], 1: [weak("")], 2: [weak("b", Finish.EOS)]}, 15, 0),
        ({0: [weak("a"), weak("", Finish.EOS)], 1: [weak("", Finish.EOS)]}, 10, 0),
        (
            {0: [replace(weak(""), prompt_tokens=9), weak("b")], 1: [replace(weak("b", Finish.EOS), prompt_tokens=12)]},
            10,
            9,
        ),
    ],
)
def test_steps_without_a_word_are_charged_alike(
    script: dict[int, list[Step]], completion: int, prompt: int, lookahead: int
) -> None:
    router = Router(Scripted(script), STRONG, PRM, Threshold(1e-9), limits=Limits(lookahead=lookahead, max_steps=2))
    usage = run(router).usage[Role.WEAK]
    assert (usage.completion_tokens, usage.prompt_tokens, usage.calls) == (completion, prompt, 1)


def test_a_draft_behind_the_head_that_is_too_long_for_the_judge_is_no_error() -> None:
    class Short(FixedPrm):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            if "b" in steps:
                raise InputTooLong("process reward model", "2 steps")
            return await super().score(question, steps)

    weak_model, strong_model = Scripted({0: [weak("a"), weak("b")]}), Scripted({0: [strong("A", Finish.EOS)]})
    limits = Limits(lookahead=1)
    trace = run(Router(weak_model, strong_model, Short({"a": 0.1}), Threshold(0.5), limits=limits))
    assert trace.text == "A"
    assert trace.usage[Role.PRM] == Usage(1, 10)
