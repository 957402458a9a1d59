"""The step loop on simulated models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trim.backends.base import BaseBackend, BaseGenerator, step_stream
from trim.errors import BackendUnavailable, BadResponse, ConfigError
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Policy
from trim.routing.router import Limits, OnError, Router
from trim.routing.speculation import Ledger
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.types import (
    Action,
    Budget,
    Decision,
    Finish,
    Observation,
    Price,
    Prices,
    Question,
    Role,
    Scores,
    Step,
    StepOptions,
    StopReason,
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


def weak(text: str, finish: Finish = Finish.SEPARATOR, tokens: int = 5) -> Step:
    return Step(text, Role.WEAK, tokens, finish)


def strong(text: str, finish: Finish = Finish.SEPARATOR, tokens: int = 5) -> Step:
    return Step(text, Role.STRONG, tokens, finish)


@dataclass
class FixedPrm(BaseBackend):
    """Scores by text; 1 for anything else."""

    scores: dict[str, float]
    calls: int = 0

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        self.calls += 1
        return Scores(tuple(self.scores.get(step, 1.0) for step in steps), 10 * len(steps))


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


# The same decisions whatever the lookahead ----------------------------------------------------------------------


@given(
    st.text(min_size=1, max_size=5),
    st.integers(0, 2**31),
    st.sampled_from(
        [
            Threshold(0.3),
            Threshold(0.7),
            Threshold(0.6, resamples=2),
            Threshold(0.7, resamples=1, max_revisions=1),
            RandomSteps(0.4),
            Always(Action.RESAMPLE),
        ]
    ),
    st.sampled_from([None, 0, 50, 130]),
)
@settings(deadline=None, max_examples=80)
def test_lookahead_changes_neither_decisions_nor_text(text: str, seed: int, policy: Policy, cap: int | None) -> None:
    traces = [
        run(
            Router(
                WEAK,
                STRONG,
                PRM,
                policy,
                budget=Budget(max_strong_tokens=cap),
                limits=Limits(lookahead=lookahead, max_drafts=3),
            ),
            text,
            seed,
        )
        for lookahead in (0, 1, 2, 5)
    ]
    for trace in traces[1:]:
        assert [replace(d, kept_score=None) for d in trace.decisions] == [
            replace(d, kept_score=None) for d in traces[0].decisions
        ]
        assert trace.text == traces[0].text
        assert trace.stop_reason == traces[0].stop_reason
    for trace in traces:
        check_accounts(trace)


def check_accounts(trace: Trace) -> None:
    """Every decoded token is either kept or discarded."""
    for role in (Role.WEAK, Role.STRONG):
        kept = sum(step.tokens for step in trace.steps if step.role is role)
        usage = trace.usage[role]
        assert usage.completion_tokens == kept + usage.discarded_tokens
        assert usage.discarded_tokens >= 0


@pytest.mark.parametrize("lookahead", [0, 1, 3])
def test_lookahead_with_slow_models_discards_half_written_steps(lookahead: int) -> None:
    slow_weak = replace(WEAK, accuracy=0.5, token_seconds=0.0001)
    router = Router(
        slow_weak,
        STRONG,
        SimulatedPrm(0.95, seconds=0.002),
        Threshold(0.5),
        limits=Limits(lookahead=lookahead),
    )
    trace = run(router, "long question 7", 3)
    check_accounts(trace)
    assert (
        trace.text
        == run(
            Router(replace(WEAK, accuracy=0.5), STRONG, SimulatedPrm(0.95), Threshold(0.5)), "long question 7", 3
        ).text
    )


# Actions --------------------------------------------------------------------------------------------------------


def test_regenerate_replaces_one_step_and_keeps_the_draft_in_the_trace() -> None:
    weak_model = Scripted({0: [weak("bad"), weak("more")], 1: [weak("#### 4", Finish.EOS)]})
    strong_model = Scripted({0: [strong("good"), strong("never read")]})
    trace = run(Router(weak_model, strong_model, FixedPrm({"bad": 0.1}), Threshold(0.5)))
    assert trace.text == "good\n\n#### 4"
    first, second = trace.decisions
    assert (first.action, first.score, first.step.role) == (Action.REGENERATE, 0.1, Role.STRONG)
    assert [draft.step.text for draft in first.rejected] == ["bad"]
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
    assert trace.steps[0].text == "draft 2"
    assert [(d.step.text, d.score, d.action) for d in trace.decisions[0].rejected] == [
        ("draft 0", 0.1, Action.RESAMPLE),
        ("draft 1", 0.2, Action.RESAMPLE),
    ]
    assert not strong_model.options
    check_accounts(trace)
    # The limit on drafts overrules the policy, and the strong model is asked instead.
    capped = run(Router(Resampling(), strong_model, prm, Threshold(0.5, resamples=2), limits=Limits(max_drafts=2)))
    assert (capped.steps[0].text, capped.decisions[0].forced) == ("help", True)
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
    assert (broke.steps[0].text, broke.decisions[0].score, broke.decisions[0].forced) == ("draft 0", 0.4, True)
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
    assert (better.step.text, better.score, better.kept_score, better.attempt) == ("second", 0.1, 0.3, 1)
    assert [(d.step.text, d.step.role) for d in better.rejected] == [("bad", Role.WEAK), ("first", Role.STRONG)]
    assert [d.step.text for d in better.drafts] == ["bad"]
    assert [(d.step.text, d.score) for d in better.strong_texts] == [("first", 0.2), ("second", 0.3)]
    assert trace.usage[Role.STRONG].discarded_tokens == 3
    assert attempts == [0, 1]
    of_draft, of_strong, of_next = seen
    assert (of_draft.strong_texts, of_draft.strong_scores) == (0, ((),))
    assert (of_strong.strong_texts, of_strong.score, of_strong.tokens) == (1, 0.2, (3,))
    assert (of_strong.draft_scores, of_strong.strong_scores) == (((0.1,),), ((0.2,),))
    assert of_next.strong_scores == ((0.2, 0.3), ())
    assert of_next.scores == (0.3, 1.0)

    worse, _, _ = solve({"bad": 0.1, "first": 0.2, "second": 0.15})
    assert (worse.step.text, worse.attempt) == ("first", 0)
    assert [d.step.text for d in worse.strong_texts] == ["first", "second"]
    good, _, attempts = solve({"bad": 0.1, "first": 0.9})
    assert ([d.step.text for d in good.strong_texts], attempts) == (["first"], [0])
    capped, _, attempts = solve({"bad": 0.1, "first": 0.2}, cap=3)
    assert ([d.step.text for d in capped.strong_texts], attempts) == (["first"], [0])


def test_a_failure_while_a_strong_text_is_revised_keeps_what_was_written() -> None:
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
        assert [step.text for step in trace.steps] == ["first", "#### 4"]
        assert [fallback.to for fallback in trace.fallbacks] == [Role.WEAK]
        check_accounts(trace)
        with pytest.raises(BackendUnavailable):
            run(Router(weak_model, Once(), prm, policy))


# Ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "reason", "text"),
    [
        ([weak("so #### 3")], StopReason.FINAL_ANSWER, "so #### 3"),
        ([weak("\\boxed{3}"), weak("chatter")], StopReason.FINAL_ANSWER, "\\boxed{3}"),
        ([weak("a"), weak("b", Finish.EOS)], StopReason.EOS, "a\n\nb"),
        ([weak("a"), weak("", Finish.EOS)], StopReason.EOS, "a"),
        ([weak("a")], StopReason.EOS, "a"),
        ([], StopReason.EMPTY, ""),
        ([weak("", Finish.EOS)], StopReason.EMPTY, ""),
        ([weak("a"), weak("and on and on", Finish.LENGTH)], StopReason.STEP_LENGTH, "a\n\nand on and on"),
        ([weak(str(i)) for i in range(9)], StopReason.STEP_LIMIT, "0\n\n1\n\n2\n\n3"),
    ],
)
@pytest.mark.parametrize("policy", [AlwaysWeak(), Threshold(0.5)])
@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_stop_reasons(steps: list[Step], reason: StopReason, text: str, policy: Policy, lookahead: int) -> None:
    model = Scripted({i: steps[i:] for i in range(len(steps) + 1)})
    trace = run(Router(model, Scripted({}), FixedPrm({}), policy, limits=Limits(max_steps=4, lookahead=lookahead)))
    assert (trace.stop_reason, trace.text) == (reason, text)
    check_accounts(trace)


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_a_degenerate_step_is_asked_for_once_more(lookahead: int) -> None:
    trace = run(Router(_ByPrefix(), Scripted({}), None, AlwaysWeak(), limits=Limits(lookahead=lookahead)))
    assert trace.text == "a\n\n---\n\nb\n\n#### 1"
    assert [step.tokens for step in trace.steps] == [5, 10, 5]
    check_accounts(trace)


def test_two_degenerate_steps_in_a_row_stop_the_solution() -> None:
    model = Scripted({0: [weak("a"), weak("---")], 1: [weak("---")], 2: [weak("***")]})
    trace = run(Router(model, Scripted({}), None, AlwaysWeak()))
    assert (trace.stop_reason, trace.text) == (StopReason.DEGENERATE, "a\n\n---\n\n***")


class _ByPrefix(BaseGenerator):
    """Writes a, ---, b, #### 1 whether its stream is kept open or not."""

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        path, count = kept, 0
        while options.limit is None or count < options.limit:
            count += 1
            if path == ():
                text = "a"
            elif path == ("a",):
                text = "---"
            elif path == ("a", "---"):
                text = "b"
            else:
                yield weak("#### 1", Finish.EOS)
                return
            yield weak(text)
            path = (*path, text)


# Budgets --------------------------------------------------------------------------------------------------------


CAPPED = [
    Threshold(0.9),
    Threshold(0.9, max_revisions=1),
    AlwaysStrong(),
    RandomSteps(0.7),
    RandomSteps(0.7, max_revisions=1),
]


@given(st.integers(0, 400), st.integers(0, 1000), st.sampled_from(CAPPED))
@settings(deadline=None, max_examples=60)
def test_the_strong_token_cap_is_hard(cap: int, seed: int, policy: Policy) -> None:
    router = Router(WEAK, STRONG, PRM, policy, budget=Budget(max_strong_tokens=cap))
    trace = run(router, "capped", seed)
    assert trace.usage[Role.STRONG].completion_tokens <= cap
    assert trace.stop_reason is StopReason.FINAL_ANSWER
    check_accounts(trace)


def test_overruled_decisions_are_forced() -> None:
    trace = run(Router(WEAK, STRONG, PRM, RandomSteps(0.99), budget=Budget(max_strong_tokens=0)))
    assert all(d.forced for d in trace.decisions if d.step.role is Role.WEAK)
    assert {d.step.role for d in trace.decisions} == {Role.WEAK}


def test_the_cost_cap_stops_strong_calls() -> None:
    prices = Prices(weak=Price(0, 1.0), strong=Price(0, 100.0))
    free = run(Router(WEAK, STRONG, PRM, RandomSteps(0.9), prices=prices), "long question 7")
    capped = run(
        Router(WEAK, STRONG, PRM, RandomSteps(0.9), prices=prices, budget=Budget(max_cost=free.cost / 3)),
        "long question 7",
    )
    assert capped.cost <= free.cost / 3 + prices.of(capped.usage) - prices.strong.of(capped.usage[Role.STRONG])
    assert any(d.forced for d in capped.decisions)


def test_cost_is_the_full_bill() -> None:
    prices = Prices(weak=Price(0, 1.0), strong=Price(0, 20.0), prm=Price(2.0))
    trace = run(Router(WEAK, STRONG, PRM, Threshold(0.6), prices=prices), "bill")
    usage = trace.usage
    assert trace.cost * 1e6 == pytest.approx(
        usage[Role.WEAK].completion_tokens
        + 20 * usage[Role.STRONG].completion_tokens
        + 2 * usage[Role.PRM].prompt_tokens
    )


# Failures -------------------------------------------------------------------------------------------------------


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


def test_two_failures_that_point_at_each_other_end_in_an_error() -> None:
    on_error = OnError(weak="strong", strong="weak", prm="strong")
    with pytest.raises(BackendUnavailable):
        run(Router(Broken(), Broken(), PRM, Threshold(0.5), on_error=on_error))
    with pytest.raises(BackendUnavailable):
        run(Router(Broken(), STRONG, PRM, Threshold(0.5), on_error=on_error, budget=Budget(max_strong_tokens=0)))


@pytest.mark.parametrize("values", [(), (0.5, 0.5, 0.5), (1.5,), (float("nan"),)])
def test_a_prm_that_breaks_the_contract_is_an_error(values: tuple[float, ...]) -> None:
    class Wrong(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            return Scores(values)

    model = Scripted({0: [weak("a", Finish.EOS)]})
    with pytest.raises(BadResponse, match="score"):
        run(Router(model, STRONG, Wrong(), Threshold(0.5)))


def test_cancelling_closes_every_stream() -> None:
    closed: list[str] = []

    class Hanging(BaseGenerator):
        @step_stream
        async def steps(
            self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
        ) -> AsyncIterator[Step]:
            try:
                yield weak("a")
                await asyncio.sleep(60)
            finally:
                closed.append("weak")

    class SlowPrm(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            await asyncio.sleep(60)
            return Scores((1.0,) * len(steps))

    async def scenario() -> None:
        task = asyncio.create_task(Router(Hanging(), STRONG, SlowPrm(), Threshold(0.5)).route(Question("q")))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed == ["weak"]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


# The rest -------------------------------------------------------------------------------------------------------


def test_decisions_are_streamed_as_they_fall() -> None:
    async def scenario() -> list[Decision | Trace]:
        return [item async for item in Router(WEAK, STRONG, PRM, Threshold(0.5)).stream(Question("long question 7"))]

    *decisions, trace = asyncio.run(scenario())
    assert isinstance(trace, Trace)
    assert [replace(d, kept_score=None) for d in trace.decisions] == decisions


def test_ends_of_the_scale_ask_nobody_in_vain() -> None:
    weak_only = run(Router(WEAK, STRONG, PRM, Threshold(0.0)), "long question 7")
    strong_only = run(Router(WEAK, STRONG, PRM, Threshold(1.0)), "long question 7")
    assert (weak_only.usage[Role.PRM].calls, weak_only.usage[Role.STRONG].calls) == (0, 0)
    assert (strong_only.usage[Role.PRM].calls, strong_only.usage[Role.WEAK].calls) == (0, 0)
    assert strong_only.usage[Role.STRONG].calls == 1


def test_a_policy_with_scores_needs_a_prm() -> None:
    with pytest.raises(ConfigError, match="process reward model"):
        Router(WEAK, STRONG, None, Threshold(0.5))


def test_several_steps_are_scored_in_one_call() -> None:
    prm = FixedPrm({})
    model = Scripted({0: [weak(str(i)) for i in range(6)]})
    trace = run(Router(model, STRONG, prm, Threshold(0.5), limits=Limits(lookahead=5)))
    assert len(trace.steps) == 6
    assert prm.calls < 6


@pytest.mark.parametrize("policy", [AlwaysWeak(), AlwaysStrong(), RandomSteps(0.5)], ids=lambda policy: policy.name)
@pytest.mark.parametrize("lookahead", [0, 1, 3])
@given(most=st.integers(1, 400))
@settings(max_examples=20, deadline=None)
def test_a_solution_has_no_more_tokens_than_it_may(policy: Policy, lookahead: int, most: int) -> None:
    limits = Limits(lookahead=lookahead, max_tokens=most)
    free, capped = run(Router(WEAK, STRONG, PRM, policy)), run(Router(WEAK, STRONG, PRM, policy, limits=limits))
    written = sum(step.tokens for step in free.steps)
    assert sum(step.tokens for step in capped.steps) == min(most, written)
    if written < most:
        assert capped.stop_reason is free.stop_reason
    if written > most:
        assert capped.stop_reason in (StopReason.MAX_TOKENS, StopReason.FINAL_ANSWER)


def test_a_ledger_is_right_when_a_stream_is_left() -> None:
    async def leave() -> Ledger:
        ledger, slow = Ledger(), replace(WEAK, token_seconds=0.001)
        stream = Router(slow, STRONG, PRM, Threshold(1e-6)).stream(Question("q"), ledger=ledger)
        await anext(stream)
        await asyncio.sleep(0.01)  # the next step is under way
        await stream.aclose()
        return ledger

    usage = asyncio.run(leave()).usage[Role.WEAK]
    assert usage.calls == 1
    assert usage.completion_tokens > 40
    assert usage.completion_tokens == 40 + usage.discarded_tokens
