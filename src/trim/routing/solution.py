"""Solves one question step by step: draft, judge, decide, keep or replace. The only step loop in the repository."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace

from trim import plugins
from trim.errors import ConfigError, ContentFiltered, InputTooLong, PluginError
from trim.protocols import Judge, Policy, StepGenerator
from trim.routing.limits import Limits, OnError
from trim.routing.repetition import is_loop
from trim.routing.speculation import Drafted, Drafting, answers
from trim.routing.step_reader import RoleFailed, StepReader
from trim.routing.usage import Ledger
from trim.seeding import Draws
from trim.steps import StepFormat, is_degenerate
from trim.types import (
    Action,
    Budget,
    Decision,
    Draft,
    Fallback,
    Finish,
    Observation,
    Prices,
    Question,
    Role,
    Step,
    StepOptions,
    StopReason,
    Trace,
)


@dataclass(eq=False)
class Setup:
    """What solutions are routed with; the arguments of `trim.routing.router.Router`, which explains them."""

    weak: StepGenerator
    strong: StepGenerator
    prm: Judge | None
    policy: Policy
    _: KW_ONLY
    form: StepFormat = StepFormat()
    budget: Budget = Budget()
    prices: Prices = Prices()
    limits: Limits = Limits()
    on_error: OnError = OnError()

    def __post_init__(self) -> None:
        if self.policy.uses_scores and self.prm is None:
            raise ConfigError(f"policy {self.policy.name} needs a process reward model")
        if self.budget.max_cost is not None and (missing := self.prices.missing):
            raise ConfigError(f"max_cost needs every price, and {missing[0]} is not set (0 is a price)")


class Solution:
    """One question that is being solved."""

    def __init__(self, setup: Setup, question: Question, seed: int, ledger: Ledger) -> None:
        self._setup = setup
        self._question = question
        self._seed = seed
        self._draws = Draws(seed, question.text)
        self._started = time.perf_counter()
        self._ledger = ledger
        self._drafting = Drafting(
            setup.weak,
            setup.prm if setup.policy.uses_scores else None,
            question,
            form=setup.form,
            ledger=self._ledger,
            lookahead=setup.limits.lookahead,
            seed=seed,
            max_tokens=setup.limits.max_tokens,
        )
        self._decisions: list[Decision] = []
        self._draft_scores: list[tuple[float, ...]] = []  # of every decision
        self._strong_scores: list[tuple[float, ...]] = []  # likewise; as a policy with revisions saw them
        self._fallbacks: list[Fallback] = []
        self._writer = Role.WEAK if setup.policy.uses_drafts else Role.STRONG  # who writes the next step
        self._unrouted = False  # a failure took the policy's say away: the weak model finishes
        self._error: str | None = None  # of a server that does not take the text
        self._reader: StepReader | None = None  # the strong model's stream after TAKE_OVER
        self._strong_end: Step | None = None  # what it wrote last
        self._revisions: int = setup.policy.max_revisions
        self.stop: StopReason | None = None

    async def advance(self) -> Decision | None:
        """Decide the next position; None when the solution ended, or the writer changed, without a new step."""
        try:
            decision = await (self._strong_step() if self._writer is Role.STRONG else self._routed_step())
        except RoleFailed as failure:
            await self._fall_back(failure)
            return None
        if decision is not None:
            self._decisions.append(decision)
            self._draft_scores.append(_scores_of(decision.drafts))
            self._strong_scores.append(_scores_of(decision.strong_texts) if self._revisions else ())
            self.stop = self.stop or self._stop_after(decision.step)
        return decision

    async def close(self) -> None:
        """Cancel whatever is still open."""
        await self._drafting.drop()
        await self._close_strong()

    def trace(self) -> Trace:
        """The finished record."""
        scores = self._drafting.scores
        decisions = tuple(
            replace(decision, kept_score=scores[i]) if i < len(scores) else decision
            for i, decision in enumerate(self._decisions)
        )
        assert self.stop is not None
        setup = self._setup
        usage = self._ledger.charged.total(decision.step for decision in decisions)
        return Trace(
            question=self._question,
            policy=setup.policy.name,
            parameter=setup.policy.parameter,
            seed=self._seed,
            decisions=decisions,
            stop_reason=self.stop,
            usage=usage,
            cost=setup.prices.of(usage),
            measured=self._ledger.usage,
            measured_cost=setup.prices.of(self._ledger.usage),
            seconds=time.perf_counter() - self._started,
            phases=self._ledger.busy,
            fallbacks=tuple(self._fallbacks),
            error=self._error,
        )

    # One position -----------------------------------------------------------------------------------------------

    async def _routed_step(self) -> Decision | None:
        rejected: list[Draft] = []
        while True:
            head = await self._drafting.head()
            if head is None:
                return await self._ended(rejected)
            head.score = next(
                (draft.score for draft in rejected if draft.step.content == head.step.content), head.score
            )
            action, forced = self._decide(head, rejected)
            if action is Action.CONTINUE:
                return await self._keep(head, rejected, forced=forced)
            if action is Action.RESAMPLE:
                rejected.append(Draft(head.step, head.score, action))
                await self._drafting.drop()
                self._drafting.attempt += 1
                continue
            if action is Action.TAKE_OVER:
                self._writer = Role.STRONG
            return await self._replace(head, rejected, action, forced=forced)

    def _decide(self, head: Drafted, rejected: list[Draft]) -> tuple[Action, bool]:
        """The policy's action and whether something overruled it."""
        if self._unrouted:
            return Action.CONTINUE, True
        setup = self._setup
        action = wanted = self._ask(self._observe(head, [*rejected, head]))
        if action is Action.RESAMPLE and len(rejected) + 1 >= setup.limits.max_drafts:
            action = Action.REGENERATE
        if action in (Action.REGENERATE, Action.TAKE_OVER) and self._strong_tokens_left() == 0:
            action = Action.CONTINUE
        return action, action is not wanted

    def _ask(self, observation: Observation) -> Action:
        """What the policy says."""
        policy = self._setup.policy
        with plugins.running(f"policy {policy.name}"):
            action: object = policy.act(observation)
        if not isinstance(action, Action):
            raise PluginError(f"policy {policy.name}: act must return a trim.Action, not {action!r:.60}")
        return action

    def _observe(
        self, shown: Drafted, drafts: Sequence[Draft | Drafted], written: Sequence[Drafted] = ()
    ) -> Observation:
        """What a policy sees of the text on the table, the last of `drafts`, or of `written` by the strong model."""
        step = shown.step
        position = len(self._decisions)
        last = position + 1 == self._setup.limits.max_steps
        place = (position, len(drafts), *["strong"] * len(written))
        return Observation(
            scores=() if shown.score is None else (*self._drafting.scores, shown.score),
            tokens=(*(decision.step.tokens for decision in self._decisions), step.tokens),
            actions=tuple(decision.action for decision in self._decisions),
            final=last or step.finish is Finish.EOS or answers(self._setup.form, step, self._drafting.steps),
            drafts=len(drafts),
            strong_tokens=self._ledger.charged.usage[Role.STRONG].completion_tokens,
            draw=self._draws.uniform(*place),
            logprob=step.logprob,
            entropy=step.entropy,
            draft_scores=(*self._draft_scores, _scores_of(drafts)),
            strong_scores=(*self._strong_scores, _scores_of(written)),
        )

    async def _keep(self, head: Drafted, rejected: list[Draft], *, forced: bool) -> Decision:
        """Keep the draft on the table, or the best-scored one where there were several."""
        best = max(rejected, key=_score_of, default=None)
        if best is None or head.score is None or _score_of(best) <= head.score:
            self._drafting.keep()
            return self._kept(Draft(head.step, head.score, Action.CONTINUE), rejected, forced=forced)
        await self._drafting.drop()
        self._restore(best.step)
        return self._kept(best, [*rejected, Draft(head.step, head.score, Action.RESAMPLE)], forced=forced)

    async def _ended(self, rejected: list[Draft]) -> Decision | None:
        """The weak model ended the solution without another step."""
        if not rejected:
            self._finish(self._drafting.end)
            return None
        best = max(rejected, key=_score_of)
        await self._drafting.drop()
        self._restore(best.step)
        return self._kept(best, rejected, forced=True)

    def _kept(self, best: Draft, drafts: list[Draft], *, forced: bool) -> Decision:
        """The decision to keep this one of the drafts."""
        attempt = next((i for i, draft in enumerate(drafts) if draft is best), len(drafts))
        others = tuple(draft for draft in drafts if draft is not best)
        return Decision(best.step, Action.CONTINUE, best.score, forced=forced, rejected=others, attempt=attempt)

    async def _replace(self, head: Drafted, rejected: list[Draft], action: Action, *, forced: bool) -> Decision:
        """The strong model writes this step; where it can't, the draft stays and the decision is forced."""
        await self._drafting.drop()
        try:
            step = await self._write_strong(limit=None if action is Action.TAKE_OVER else 1)
        except RoleFailed as failure:
            if self._setup.on_error.strong == "raise":
                raise
            await self._fall_back(failure)
            step = None
        if step is None:
            self._restore(head.step)
            self._writer = Role.WEAK
            return self._kept(Draft(head.step, head.score, Action.CONTINUE), rejected, forced=True)
        rejected.append(Draft(head.step, head.score, action))
        best, others, attempt = Drafted(step), list[Draft](), 0
        if self._revisions and action is Action.REGENERATE:
            best, others, attempt = await self._revise(best, rejected)
        self._drafting.replace(best.step, best.score)
        return Decision(
            best.step, action, head.score, best.score, forced=forced, rejected=(*rejected, *others), attempt=attempt
        )

    async def _revise(self, first: Drafted, drafts: list[Draft]) -> tuple[Drafted, list[Draft], int]:
        """Show the policy what the strong model wrote, unless that is a draft again: it may have it written once more,
        as often as it has revisions. The best-scored text, the other ones, and where among them it was made.
        """
        written = [first]
        try:
            while True:
                new = written[-1]
                known: list[Draft | Drafted] = [*drafts, *written[:-1]]
                new.score = next((text.score for text in known if text.step.content == new.step.content), None)
                if new.score is None:
                    new.score = await self._drafting.judge(new.step)
                agrees = any(draft.step.content == new.step.content for draft in drafts)
                if agrees or len(written) > self._revisions or self._strong_tokens_left() == 0:
                    break
                # A policy without scores cannot tell whose text it is shown: its REGENERATE means REVISE here.
                action = self._ask(self._observe(new, drafts, written))
                if action not in (Action.REVISE, Action.REGENERATE):
                    break
                step = await self._write_strong(limit=1, attempt=len(written))
                if step is None:
                    break
                written.append(Drafted(step))
        except RoleFailed as failure:  # what is written stays
            await self._fall_back(failure)
        attempt = max(range(len(written)), key=lambda n: (_score_of(written[n]), -n))
        best = written.pop(attempt)
        for other in written:
            self._ledger.discard(Role.STRONG, other.step.tokens)
        return best, [Draft(other.step, other.score, Action.REVISE) for other in written], attempt

    async def _strong_step(self) -> Decision | None:
        """The next step of a solution that the strong model has taken over."""
        if self._strong_tokens_left() == 0:
            await self._hand_back()
            return None
        step = await self._write_strong(limit=None)
        if step is None:
            if self._writer is Role.STRONG:
                self._finish(self._strong_end)
            return None
        self._drafting.replace(step)
        forced = self._setup.policy.uses_drafts and bool(self._fallbacks)
        return Decision(step, Action.TAKE_OVER, forced=forced)

    # The strong model -------------------------------------------------------------------------------------------

    async def _write_strong(self, limit: int | None, attempt: int = 0) -> Step | None:
        """One step by the strong model; None if it ended the solution instead, or a budget cut it off."""
        left = self._strong_tokens_left()
        if self._reader is None or self._reader.spent:
            await self._close_strong()
            caps = [cap for cap in (left, self._drafting.tokens_left) if cap is not None]
            options = StepOptions(limit, min(caps, default=None), attempt, self._seed)
            self._reader = StepReader(self._setup.strong, Role.STRONG, self._question, self._drafting.steps, options)
        step = await self._reader.next(self._ledger)
        self._strong_end = charged = self._ledger.charged.write(step or self._reader.lost, self._drafting.kept)
        step = None if step is None else charged
        if limit == 1 or step is None:
            await self._close_strong()
        if step is not None and step.finish is Finish.LENGTH and left is not None and step.tokens >= left:
            # Half a step is worth nothing to the weak model: what the cap cut off is not kept.
            self._ledger.discard(Role.STRONG, step.tokens)
            await self._hand_back()
            return None
        return step

    async def _hand_back(self) -> None:
        """The budget is spent: the weak model finishes."""
        await self._close_strong()
        self._writer = Role.WEAK
        self._unrouted = True
        self._drafting.prm = None

    async def _close_strong(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close(self._ledger)
            for late in reader.late:
                self._ledger.charged.correct(Role.STRONG, late)

    def _strong_tokens_left(self) -> int | None:
        """Completion tokens that the budget still allows the strong model; None: no cap."""
        budget, prices, usage = self._setup.budget, self._setup.prices, self._ledger.charged.usage
        caps: list[float] = []
        if budget.max_strong_tokens is not None:
            caps.append(budget.max_strong_tokens - usage[Role.STRONG].completion_tokens)
        if budget.max_cost is not None:
            # The prompt of the next strong request is about the question and all kept steps.
            prompt = max(usage[Role.WEAK].prompt_tokens // max(1, usage[Role.WEAK].calls), 1)
            prompt += sum(decision.step.tokens for decision in self._decisions)
            spent = prices.of(usage)
            money = -1.0 if spent is None else budget.max_cost - spent - prompt * (prices.strong.prompt or 0.0) / 1e6
            each = (prices.strong.completion or 0.0) / 1e6
            caps.append(money / each if each > 0 else (float("inf") if money >= 0 else 0))
        finite = [cap for cap in caps if cap != float("inf")]
        return max(0, int(min(finite))) if finite else None

    # Ends and failures ------------------------------------------------------------------------------------------

    def _restore(self, step: Step) -> None:
        """A draft that was dropped is kept after all: its tokens are not discarded."""
        self._drafting.replace(step)
        self._ledger.discard(Role.WEAK, -step.tokens)

    def _finish(self, end: Step | None) -> None:
        """A model has ended the solution without another step. White space belongs to the last one."""
        self.stop = StopReason.EOS if self._decisions else StopReason.EMPTY
        if end is not None and end.finish is Finish.CONTENT_FILTER:
            self.stop = StopReason.CONTENT_FILTER
        if end is None or not end.text or not self._decisions:
            return
        last = self._decisions[-1]
        step = replace(last.step, text=last.step.text + end.text)
        if end.role is step.role:
            step = replace(step, tokens=step.tokens + end.tokens, estimated=step.estimated or end.estimated)
            self._ledger.discard(end.role, -end.tokens)
        self._decisions[-1] = replace(last, step=step)

    def _stop_after(self, step: Step) -> StopReason | None:
        if step.finish is Finish.CONTENT_FILTER:
            return StopReason.CONTENT_FILTER
        if step.finish is Finish.REFUSAL:
            return StopReason.REFUSAL
        if step.finish is not Finish.LENGTH and answers(self._setup.form, step, self._drafting.steps[:-1]):
            return StopReason.FINAL_ANSWER
        if step.finish is Finish.EOS:
            return StopReason.EOS
        if self._drafting.tokens_left == 0:
            return StopReason.MAX_TOKENS
        if is_degenerate(step.text):
            return StopReason.DEGENERATE
        if len(self._decisions) >= self._setup.limits.max_steps:
            return StopReason.STEP_LIMIT
        if is_loop(kept.text for kept in reversed(self._drafting.steps)):
            return StopReason.REPETITION
        return None

    async def _fall_back(self, failure: RoleFailed) -> None:
        """Fall back to the model that `on_error` names, or stop there, or raise the error. What is written stays."""
        on_error, error = self._setup.on_error, failure.error
        filtered, unfit = isinstance(error, ContentFiltered), isinstance(error, InputTooLong)
        to = (
            "raise"
            if filtered
            else {Role.WEAK: on_error.weak, Role.STRONG: on_error.strong, Role.PRM: on_error.prm}[failure.role]
        )
        failed = {fallback.role.value for fallback in self._fallbacks}
        if to == "raise" or to in failed or failure.role.value in failed:
            if not (filtered or unfit) or (on_error.refused == "raise" and not self._decisions):
                raise error from None
            self._error = str(error)
            self.stop = StopReason.CONTENT_FILTER if filtered else StopReason.INPUT_TOO_LONG
            return
        self._fallbacks.append(Fallback(failure.role, len(self._decisions), str(error), Role(to)))
        await self._drafting.drop()
        await self._close_strong()
        self._drafting.prm = None
        self._unrouted = True
        self._writer = Role(to)


def _score_of(draft: Draft | Drafted) -> float:
    return -1.0 if draft.score is None else draft.score


def _scores_of(drafts: Sequence[Draft | Drafted]) -> tuple[float, ...]:
    return tuple(draft.score for draft in drafts if draft.score is not None)
