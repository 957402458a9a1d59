"""Every action, every reason to stop, every fallback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

import pytest

from tests.routing.models import (
    PRM,
    STRONG,
    WEAK,
    Always,
    Broken,
    FixedPrm,
    Scripted,
    check_accounts,
    run,
    strong,
    weak,
)
from trim.backends.base import BaseGenerator, step_stream
from trim.errors import BackendError, BackendUnavailable, ContentFiltered, InputTooLong, PluginError
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Policy
from trim.routing.limits import Limits, OnError
from trim.routing.router import Router
from trim.types import (
    Action,
    Budget,
    Decision,
    Finish,
    Observation,
    Question,
    Role,
    Scores,
    Step,
    StepOptions,
    StopReason,
    Trace,
)


def test_regenerate_replaces_one_step_and_keeps_the_draft_in_the_trace() -> None:
    weak_model = Scripted({0: [weak("bad"), weak("more")], 1: [weak("#### 4", Finish.EOS)]})
    strong_model = Scripted({0: [strong("good"), strong("never read")]})
    trace = run(Router(weak_model, strong_model, FixedPrm({"bad": 0.1}), Threshold(0.5)))
    assert trace.text == "good\n\n#### 4"
    first, second = trace.decisions
    assert (first.action, first.score, first.step.role) == (Action.REGENERATE, 0.1, Role.STRONG)
    assert [draft.step.content for draft in first.rejected] == ["bad"]
    assert first.kept_score == 1.0
    assert second.action is Action.CONTINUE
    assert trace.stop_reason is StopReason.FINAL_ANSWER
    assert strong_model.options[0].limit == 1
    assert weak_model.closed == len(weak_model.options)
    check_accounts(trace)


def test_take_over_lets_the_strong_model_finish() -> None:
    strong_model = Scripted({0: [strong("a"), strong("b"), strong("#### 1", Finish.EOS)]})
    trace = run(Router(Scripted({0: [weak("x"), weak("y")]}), strong_model, None, Always(Action.TAKE_OVER)))
    assert trace.text == "a\n\nb\n\n#### 1"
    assert [d.action for d in trace.decisions] == [Action.TAKE_OVER] * 3
    assert trace.usage[Role.STRONG].calls == 1
    check_accounts(trace)


def test_resample_asks_for_another_draft_of_the_same_step() -> None:
    @dataclass
    class Resampling(BaseGenerator):
        @step_stream
        async def steps(
            self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
        ) -> AsyncIterator[Step]:
            yield weak(f"draft {options.attempt}" if not kept else "#### 1", Finish.EOS if kept else Finish.SEPARATOR)
            if not kept:
                yield weak("#### 1", Finish.EOS)

    prm = FixedPrm({"draft 0": 0.1, "draft 1": 0.2, "draft 2": 0.9})
    strong_model = Scripted({0: [strong("help")]})
    trace = run(Router(Resampling(), strong_model, prm, Threshold(0.5, resamples=2), limits=Limits(max_drafts=3)))
    assert trace.steps[0].content == "draft 2"
    assert [(d.step.content, d.score, d.action) for d in trace.decisions[0].rejected] == [
        ("draft 0", 0.1, Action.RESAMPLE),
        ("draft 1", 0.2, Action.RESAMPLE),
    ]
    assert not strong_model.options
    check_accounts(trace)
    # The limit on drafts overrules the policy, and the strong model is asked instead.
    capped = run(Router(Resampling(), strong_model, prm, Threshold(0.5, resamples=2), limits=Limits(max_drafts=2)))
    assert (capped.steps[0].content, capped.decisions[0].forced) == ("help", True)
    # Where the strong model may not be asked either, the best draft is kept.
    broke = run(
        Router(
            Resampling(),
            strong_model,
            FixedPrm({"draft 0": 0.4, "draft 1": 0.2}),
            Threshold(0.5, resamples=2),
            limits=Limits(max_drafts=2),
            budget=Budget(max_strong_tokens=0),
        )
    )
    assert (broke.steps[0].content, broke.decisions[0].score, broke.decisions[0].forced) == ("draft 0", 0.4, True)
    check_accounts(broke)


def test_what_the_strong_model_wrote_may_be_revised_once() -> None:
    @dataclass
    class Revising(BaseGenerator):
        attempts: list[int] = field(default_factory=list)

        @step_stream
        async def steps(
            self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
        ) -> AsyncIterator[Step]:
            self.attempts.append(options.attempt)
            yield strong(("first", "second")[options.attempt], tokens=3 + options.attempt)

    seen: list[Observation] = []

    class Watched(Threshold):
        def act(self, observation: Observation) -> Action:
            seen.append(observation)
            return super().act(observation)

    weak_model = Scripted({0: [weak("bad")], 1: [weak("#### 4", Finish.EOS)]})

    def solve(scores: dict[str, float], cap: int | None = None) -> tuple[Decision, Trace, list[int]]:
        strong_model = Revising()
        budget = Budget(max_strong_tokens=cap)
        policy = Watched(0.5, max_revisions=1)
        trace = run(Router(weak_model, strong_model, FixedPrm(scores), policy, budget=budget))
        check_accounts(trace)
        return trace.decisions[0], trace, strong_model.attempts

    better, trace, attempts = solve({"bad": 0.1, "first": 0.2, "second": 0.3})
    assert (better.step.content, better.score, better.kept_score, better.attempt) == ("second", 0.1, 0.3, 1)
    assert [(d.step.content, d.step.role) for d in better.rejected] == [("bad", Role.WEAK), ("first", Role.STRONG)]
    assert [d.step.content for d in better.drafts] == ["bad"]
    assert [(d.step.content, d.score) for d in better.strong_texts] == [("first", 0.2), ("second", 0.3)]
    assert trace.usage[Role.STRONG].discarded_tokens == 3
    assert attempts == [0, 1]
    of_draft, of_strong, of_next = seen
    assert (of_draft.strong_texts, of_draft.strong_scores) == (0, ((),))
    assert (of_strong.strong_texts, of_strong.score, of_strong.tokens) == (1, 0.2, (3,))
    assert (of_strong.draft_scores, of_strong.strong_scores) == (((0.1,),), ((0.2,),))
    assert of_next.strong_scores == ((0.2, 0.3), ())
    assert of_next.scores == (0.3, 1.0)

    worse, _, _ = solve({"bad": 0.1, "first": 0.2, "second": 0.15})
    assert (worse.step.content, worse.attempt) == ("first", 0)
    assert [d.step.content for d in worse.strong_texts] == ["first", "second"]
    good, _, attempts = solve({"bad": 0.1, "first": 0.9})
    assert ([d.step.content for d in good.strong_texts], attempts) == (["first"], [0])
    capped, _, attempts = solve({"bad": 0.1, "first": 0.2}, cap=3)
    assert ([d.step.content for d in capped.strong_texts], attempts) == (["first"], [0])


def test_a_policy_without_scores_has_strong_texts_revised_too() -> None:
    """It does not see that the current text is the strong model's: only scored texts are counted."""

    class Texts(BaseGenerator):
        @step_stream
        async def steps(
            self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
        ) -> AsyncIterator[Step]:
            yield strong(f"text {options.attempt}")

    drafts = Scripted({0: [weak("a")], 1: [weak("#### 4", Finish.EOS)]})
    trace = run(Router(drafts, Texts(), None, RandomSteps(1 - 1e-9, max_revisions=2), limits=Limits(max_steps=1)))
    (decision,) = trace.decisions
    assert (decision.action, decision.step.content, decision.attempt) == (Action.REGENERATE, "text 0", 0)
    assert [(draft.step.content, draft.action) for draft in decision.rejected] == [
        ("a", Action.REGENERATE),
        ("text 1", Action.REVISE),
        ("text 2", Action.REVISE),
    ]
    check_accounts(trace)


def test_a_failure_while_a_strong_text_is_revised_keeps_the_earlier_text() -> None:
    class Once(BaseGenerator):
        @step_stream
        async def steps(
            self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
        ) -> AsyncIterator[Step]:
            if options.attempt:
                raise BackendUnavailable("strong model", "connection refused")
            yield strong("first")

    class PrmOnce(FixedPrm):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            if steps[-1] == "first":
                raise BackendUnavailable("process reward model", "connection refused")
            return await super().score(question, steps)

    weak_model = Scripted({0: [weak("bad")], 1: [weak("#### 4", Finish.EOS)]})
    policy = Threshold(0.5, max_revisions=1)
    for prm in (FixedPrm({"bad": 0.1, "first": 0.2}), PrmOnce({"bad": 0.1})):
        trace = run(Router(weak_model, Once(), prm, policy, on_error=OnError(strong="weak", prm="weak")))
        assert [step.content for step in trace.steps] == ["first", "#### 4"]
        assert [fallback.to for fallback in trace.fallbacks] == [Role.WEAK]
        check_accounts(trace)
        with pytest.raises(BackendUnavailable):
            run(Router(weak_model, Once(), prm, policy))


@pytest.mark.parametrize(
    ("steps", "reason", "text"),
    [
        ([weak("so #### 3")], StopReason.FINAL_ANSWER, "so #### 3\n\n"),
        ([weak("\\boxed{3}"), weak("chatter")], StopReason.FINAL_ANSWER, "\\boxed{3}\n\n"),
        ([weak("a"), weak("b", Finish.EOS)], StopReason.EOS, "a\n\nb"),
        ([weak("a"), weak("", Finish.EOS)], StopReason.EOS, "a\n\n"),
        ([weak("a"), weak("\n \n", Finish.EOS)], StopReason.EOS, "a\n\n\n \n"),
        ([weak("a")], StopReason.EOS, "a\n\n"),
        ([weak("\N{THUMBS UP SIGN}", Finish.EOS)], StopReason.EOS, "\N{THUMBS UP SIGN}"),
        ([weak("a"), weak("---", Finish.EOS)], StopReason.EOS, "a\n\n---"),
        ([], StopReason.EMPTY, ""),
        ([weak("", Finish.EOS)], StopReason.EMPTY, ""),
        ([weak("a"), weak("and on", Finish.LENGTH), weak(" and on", Finish.EOS)], StopReason.EOS, "a\n\nand on and on"),
        ([weak("so #### 4", Finish.LENGTH), weak("2", Finish.EOS)], StopReason.EOS, "so #### 42"),
        ([weak("on", Finish.LENGTH)] * 9, StopReason.STEP_LIMIT, "on" * 4),
        ([weak("and " * 300, Finish.LENGTH)] * 9, StopReason.REPETITION, "and " * 600),
        ([weak(str(i)) for i in range(9)], StopReason.STEP_LIMIT, "0\n\n1\n\n2\n\n3\n\n"),
    ],
)
@pytest.mark.parametrize("policy", [AlwaysWeak(), Threshold(0.5)])
@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_stop_reasons(steps: list[Step], reason: StopReason, text: str, policy: Policy, lookahead: int) -> None:
    model = Scripted({i: steps[i:] for i in range(len(steps) + 1)})
    trace = run(Router(model, Scripted({}), FixedPrm({}), policy, limits=Limits(max_steps=4, lookahead=lookahead)))
    assert (trace.stop_reason, trace.text) == (reason, text)
    check_accounts(trace)


def test_a_step_at_its_limit_is_scored_and_routed_like_any_other() -> None:
    weak_model = Scripted({0: [weak("on and", Finish.LENGTH), weak(" on")], 1: [weak("#### 4", Finish.EOS)]})
    strong_model = Scripted({0: [strong("better", Finish.LENGTH)]})
    trace = run(Router(weak_model, strong_model, FixedPrm({"on and": 0.1}), Threshold(0.5)))
    first, second = trace.decisions
    assert (first.action, first.score, first.step.finish) == (Action.REGENERATE, 0.1, Finish.LENGTH)
    assert (second.step.role, trace.text) == (Role.WEAK, "better#### 4")
    check_accounts(trace)


def test_the_strong_model_goes_on_behind_a_step_at_its_limit() -> None:
    model = Scripted({0: [strong("a", Finish.LENGTH)], 1: [strong("b", Finish.LENGTH)], 2: [strong("c", Finish.EOS)]})
    trace = run(Router(Scripted({}), model, None, AlwaysStrong()))
    assert (trace.text, trace.stop_reason, trace.measured[Role.STRONG].calls) == ("abc", StopReason.EOS, 3)
    check_accounts(trace)


@pytest.mark.parametrize("refused", ["raise", "stop"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputTooLong("weak model", "too long"), StopReason.INPUT_TOO_LONG),
        (ContentFiltered("weak model", "filtered"), StopReason.CONTENT_FILTER),
    ],
)
def test_a_text_that_a_server_does_not_take_ends_the_solution_and_stays(
    refused: Literal["raise", "stop"], error: BackendError, reason: StopReason
) -> None:
    class Full(BaseGenerator):
        @step_stream
        async def steps(
            self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
        ) -> AsyncIterator[Step]:
            if kept:
                raise error
            yield weak("all that fits", Finish.LENGTH)

    trace = run(Router(Full(), Scripted({}), None, AlwaysWeak(), on_error=OnError(refused=refused)))
    assert (trace.text, trace.stop_reason, trace.error) == ("all that fits", reason, str(error))
    assert not trace.failed


def test_failures_are_raised_by_default() -> None:
    for router in (
        Router(Broken(), STRONG, PRM, AlwaysWeak()),
        Router(WEAK, Broken(), PRM, AlwaysStrong()),
        Router(WEAK, STRONG, Broken(), Threshold(0.5)),
    ):
        with pytest.raises(BackendUnavailable, match="refused"):
            run(router)


@pytest.mark.parametrize("good", [0, 1, 2])
@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_fallbacks_finish_the_solution_and_are_in_the_trace(good: int, lookahead: int) -> None:
    limits = Limits(lookahead=lookahead)
    cases = [
        (Router(Broken(good), STRONG, PRM, Threshold(0.5), on_error=OnError(weak="strong"), limits=limits), "strong"),
        (Router(WEAK, STRONG, Broken(good), Threshold(0.5), on_error=OnError(prm="strong"), limits=limits), "strong"),
        (Router(WEAK, STRONG, Broken(good), Threshold(0.5), on_error=OnError(prm="weak"), limits=limits), "weak"),
        (Router(WEAK, Broken(), PRM, RandomSteps(0.9), on_error=OnError(strong="weak"), limits=limits), "weak"),
        (Router(WEAK, Broken(), PRM, AlwaysStrong(), on_error=OnError(strong="weak"), limits=limits), "weak"),
    ]
    for router, to in cases:
        trace = run(router, "long question 7")
        assert trace.stop_reason is StopReason.FINAL_ANSWER
        assert [fallback.to.value for fallback in trace.fallbacks] == [to]
        assert "refused" in trace.fallbacks[0].error
        assert trace.steps[-1].role.value == to
        check_accounts(trace)


def test_mutual_fallbacks_that_both_fail_end_in_an_error() -> None:
    on_error = OnError(weak="strong", strong="weak", prm="strong")
    with pytest.raises(BackendUnavailable):
        run(Router(Broken(), Broken(), PRM, Threshold(0.5), on_error=on_error))
    with pytest.raises(BackendUnavailable):
        run(Router(Broken(), STRONG, PRM, Threshold(0.5), on_error=on_error, budget=Budget(max_strong_tokens=0)))


def test_extreme_parameters_make_no_unneeded_calls() -> None:
    weak_only = run(Router(WEAK, STRONG, PRM, Threshold(0.0)), "long question 7")
    strong_only = run(Router(WEAK, STRONG, PRM, Threshold(1.0)), "long question 7")
    assert (weak_only.usage[Role.PRM].calls, weak_only.usage[Role.STRONG].calls) == (0, 0)
    assert (strong_only.usage[Role.PRM].calls, strong_only.usage[Role.WEAK].calls) == (0, 0)
    assert strong_only.usage[Role.STRONG].calls == 1


class Silent(Policy):
    """Forgets to return."""

    name = "silent"

    def act(self, observation: Observation) -> Action:
        return None  # type: ignore[return-value]


class Stumbling(Silent):
    name = "stumbling"

    def act(self, observation: Observation) -> Action:
        raise ZeroDivisionError("no step yet")


class StumblingJudge(FixedPrm):
    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        raise KeyError("step")


@pytest.mark.parametrize(
    ("policy", "judge", "message"),
    [
        (Silent(), FixedPrm({}), "policy silent: act must return a trim.Action, not None"),
        (Stumbling(), FixedPrm({}), "policy stumbling raised ZeroDivisionError: no step yet; trim --debug"),
        (Threshold(0.5), StumblingJudge({}), "judge .* raised KeyError: 'step'; trim --debug shows where"),
    ],
)
def test_code_that_fails_is_named(policy: Policy, judge: FixedPrm, message: str) -> None:
    strong_model = Scripted({0: [strong("#### 4")]})
    router = Router(Scripted({0: [weak("#### 4")]}), strong_model, judge, policy)
    with pytest.raises(PluginError, match=message):
        run(router)
    assert not strong_model.options
