"""The gateway: models, policies, admission control, circuit breakers, usage store, metrics and traces, put together."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from trim.backends.base import innermost
from trim.backends.client import ServerBackend
from trim.config.factory import Backends, open_backends
from trim.config.judge_notes import judge_note
from trim.config.settings import Config
from trim.errors import ConfigError, TrimError
from trim.policies import AlwaysStrong, AlwaysWeak
from trim.protocols import Backend
from trim.routing.usage import Ledger
from trim.server.admission import AdmissionControl
from trim.server.allowance import Account, Allowance, Needs
from trim.server.api_error import ApiError, client_error
from trim.server.auth import ANONYMOUS, ApiKey, ApiKeys
from trim.server.budget_controller import AnswerOutcome, ShareController, TargetControllers, target_name
from trim.server.circuit_breaker import CircuitBreaker
from trim.server.completion_stream import Answer
from trim.server.health_check import HealthCheck, judging, silence_of, writing
from trim.server.model_catalog import Choice, Models
from trim.server.passthrough import Passthrough, PassthroughResponse
from trim.server.policy_preparation import PolicyPreparation, Priority, needs_preparation
from trim.server.prometheus import Metrics
from trim.server.request_sampling import RequestSampling
from trim.server.responses import ChatResponse, CompletionResponse
from trim.server.responses_api import ResponsesResponse
from trim.server.responses_request import ResponsesRequest
from trim.server.schemas import BaseRequest, CompletionRequest, PassthroughRequest, TrimOptions
from trim.server.shared_circuits import SharedCircuits
from trim.server.trace_recorder import Redact, TraceRecorder
from trim.server.tracing import Attribute, SpanAttributes, Tracing
from trim.server.usage_store import UsageStore, UsageTotals
from trim.tasks.shipped_questions import note_on
from trim.types import Budget, Question, Role, Trace, Usage

logger = logging.getLogger("trim.server")
_PATIENCE = 5.0  # seconds: a server that asks to wait for longer is not waited for, its client is told
_DRAIN_SECONDS = 5.0
_LOOKUPS = 64  # at the same time
_RECENT = 50  # requests that the web page can show
_CHECKS = "health checks"  # by this name they are in the usage store
_SHARE_OF_DEADLINE = 1 / 3  # for which a backend may be silent at most,
_SHORTEST_SILENCE = 5.0  # if that is not less than so many seconds


@dataclass(frozen=True)
class Job:
    """A valid request: who sent it, how it is routed, and its response."""

    key: ApiKey
    request: BaseRequest
    question: Question
    choice: Choice
    response: ChatResponse
    allowance: Allowance

    def client_error(self, error: TrimError) -> ApiError:
        """The error response for a failure of a backend."""
        reasons = self.request.reasons if isinstance(self.request, PassthroughRequest) else ()
        field, passed = self.request.question_field, next(iter(reasons), None)
        return client_error(error, field, passed, exposed=self.response.exposed, request=self.response.id)


@dataclass(frozen=True)
class RecentRequest:
    """A request that has ended, for the web page; the beginning of its question."""

    key: str
    question: str
    status: str
    response: ChatResponse

    def as_json(self) -> dict[str, Any]:
        """What the web page shows of it."""
        trim = self.response.trim()
        names = ("policy", "parameter", "strong_share", "cost", "steps")
        head = {"id": self.response.id, "question": self.question, "status": self.status}
        return head | {name: trim[name] for name in names}


class Gateway:
    """Serves requests over open models.

    Args:
        backends: the models; `backends.config.serve` has the settings.
        redact: may rewrite or drop a trace before it is recorded.
        clock, elapsed: for the usage store.

    Raises:
        ConfigError: a file in the settings cannot be used, or the configured policy cannot follow a target.
    """

    def __init__(
        self,
        backends: Backends,
        redact: Redact | None = None,
        clock: Callable[[], float] | None = None,
        elapsed: Callable[[], float] | None = None,
    ) -> None:
        self.backends = backends
        self.settings = serve = backends.config.serve
        self._open_requests = 0  # begun and not yet settled
        self._none_open = asyncio.Event()
        self._none_open.set()
        self.metrics = Metrics()
        self.tracing = Tracing()
        spec = backends.spec
        names = {Role.WEAK: spec.weak.model, Role.STRONG: spec.strong.model, Role.PRM: spec.judge.model}
        self.breakers = {role: self._breaker(role, names[role]) for role in Role}
        self._systems = spec.system_tokens()
        self._judge = judge_note(backends.config).short
        self._sampling = RequestSampling(backends, self.breakers)
        self.keys = ApiKeys(serve.keys)
        if self.keys.cap_spend and (missing := spec.prices.missing):
            words = "spend_per_hour and spend_per_day need every price"
            raise ConfigError(f"{serve.keys}: {words}, and {missing[0]} is not set")
        self.usage = UsageStore(serve.state, clock, elapsed=elapsed, recovery=serve.recovery)
        with ExitStack() as on_error:  # settings that are refused leave no file open
            on_error.callback(self.usage.close)
            self.admission = AdmissionControl(serve, self.usage, self.metrics)
            self.controllers = TargetControllers(self.usage, serve.spend_targets())
            self.models = Models(backends.config, self.controllers)
            self.preparation = PolicyPreparation(self.metrics.preparation.observe)
            self.passthrough = Passthrough(backends, self.breakers[Role.STRONG]) if serve.pass_through else None
            self.recent: deque[RecentRequest] = deque(maxlen=_RECENT)
            self.recorder = TraceRecorder(Path(serve.record), serve.record_mb * 1e6, redact) if serve.record else None
            on_error.pop_all()

    def _breaker(self, role: Role, name: str) -> CircuitBreaker:
        """The circuit breaker of a role's backend, with its health check."""
        opened, spec = self.backends, self.backends.spec
        model = opened.weak if role is Role.WEAK else opened.strong
        backend: Backend = opened.prm if role is Role.PRM else model
        call = judging(opened.prm) if role is Role.PRM else writing(model, role)
        timeout = {Role.WEAK: spec.weak, Role.STRONG: spec.strong, Role.PRM: spec.judge}[role].timeout
        silence = silence_of(backend, timeout)
        check = HealthCheck(backend, call, partial(self._checked, role), silence)
        return CircuitBreaker(role, name, self.settings, self.metrics, self.tracing, silence=silence, check=check)

    def _checked(self, role: Role, ledger: Ledger, works: bool) -> None:
        """A health check has ended. What it has used is in the spend of the gateway, and is nobody's request."""
        self.metrics.health_checked(role, works=works)
        if not any(used.calls for used in ledger.usage.values()):
            return
        cost = self.backends.spec.prices.of(ledger.usage)
        self.metrics.add_usage(ledger.usage, cost)
        strong = ledger.usage[Role.STRONG].completion_tokens
        self.usage.charge(_CHECKS, UsageTotals(cost or 0.0, strong, 0))

    async def problems(self, seconds: float) -> dict[Role, str | None]:
        """What is wrong with each backend, found in so many seconds; None: it works."""
        roles = list(self.breakers)
        found = await asyncio.gather(*(self._problem(self.breakers[role], seconds) for role in roles))
        return dict(zip(roles, found, strict=True))

    async def _problem(self, breaker: CircuitBreaker, seconds: float) -> str | None:
        """One with an open circuit is tried by the circuit breaker."""
        return breaker.problem or await breaker.check.problem(seconds)

    def job(self, key: ApiKey, request: BaseRequest) -> Job:
        """Choose the policy and the budget of a request.

        Raises:
            ApiError: no such model, or a value that is not valid.
        """
        questions = request.questions()
        choice = self.models.choose(request.model, request.trim)
        choice = replace(choice, policy=self.preparation.shared(choice.policy))
        count, limit = request.count, self.settings.max_choices
        if count * len(questions) > limit:
            field = "n" if count > limit else request.question_field
            raise ApiError(400, f"a request may ask for {limit} answers at most", "invalid_value", field)
        if isinstance(request, PassthroughRequest):
            choice = _passed_through(request, choice)
        allowance = Allowance(self.usage, key.name, self.backends.spec.prices)
        response = self._response(request, questions, choice, allowance)
        response = replace(response, exposed=self.settings.expose_upstream_errors)
        if self.settings.log_questions:
            logger.info("%s question: %s", response.id, "; ".join(question.text for question in questions))
        return Job(key, request, questions[0], choice, response, allowance)

    def _response(
        self, request: BaseRequest, questions: list[Question], choice: Choice, allowance: Allowance
    ) -> ChatResponse:
        count, options, stream_options = request.count, request.trim, request.stream_options
        first = secrets.randbits(31) if request.seed is None else request.seed
        seeds = range(first, first + count)
        max_tokens = min(request.token_limit() or self.settings.max_tokens, self.settings.max_tokens)
        include_usage = stream_options is not None and bool(stream_options.include_usage)
        if isinstance(request, PassthroughRequest):
            assert self.passthrough is not None
            passed = self.passthrough.answers(
                request, seeds, budget=_shared(choice.budget, count), max_tokens=max_tokens, allowance=allowance
            )
            return PassthroughResponse(
                request.model,
                passed,
                count,
                include_usage=include_usage,
                ignored=request.ignored,
                reasons=request.reasons,
            )
        backends = self._sampling.backends(request)
        budget = self._budget(request, choice.budget, len(questions))
        router = backends.router(choice.policy, budget=budget, max_tokens=max_tokens, max_steps=max_tokens, answer=None)
        stops, answers, prompts = tuple(request.stop or ()), list[Answer](), list[int]()
        for question in questions:
            for seed in seeds:
                account = Account(allowance, Ledger(), self._systems)
                prompts.append(account.most(Role.STRONG, question, ()))
                metered = account.metered(router, self.backends)
                answers.append(Answer(metered, question, seed, account.ledger, stops))
        strong = max_tokens if budget.max_strong_tokens is None else budget.max_strong_tokens
        allowance.needs = Needs.of(allowance.prices, choice.policy, prompts, tokens=max_tokens, strong_tokens=strong)
        drafts, ignored = options is not None and bool(options.drafts), self._sampling.ignored(request)
        names = (self.backends.weak.identity, self.backends.strong.identity)
        notes = tuple(dict.fromkeys(note for question in questions if (note := note_on(question.text, names))))
        if isinstance(request, ResponsesRequest):
            asked = request.repeated()
            return ResponsesResponse(request.model, answers, drafts=drafts, ignored=ignored, notes=notes, asked=asked)
        response = CompletionResponse if isinstance(request, CompletionRequest) else ChatResponse
        return response(
            request.model, answers, count, drafts=drafts, include_usage=include_usage, ignored=ignored, notes=notes
        )

    async def prepare(self, job: Job) -> None:
        """Returns when the first decision of a request takes no time.

        Raises:
            ApiError: 429, too many requests wait for this.
        """
        priority = Priority.REQUEST if job.choice.target is None else Priority.TARGET
        await self.preparation.ready(job.choice.policy, priority)

    @contextmanager
    def request_span(self, job: Job, headers: Mapping[str, str]) -> Iterator[SpanAttributes]:
        """An OpenTelemetry span around a request; at its end it has the totals."""
        request, policy, response = job.request, job.choice.policy, job.response
        asked: dict[str, Attribute] = {
            "gen_ai.request.max_tokens": request.token_limit(),
            "gen_ai.request.temperature": request.temperature,
            "gen_ai.request.top_p": request.top_p,
            "gen_ai.request.top_k": request.top_k,
            "gen_ai.request.seed": request.seed,
            "gen_ai.request.choice.count": request.count,
            "gen_ai.response.id": response.id,
            "gen_ai.response.model": request.model,
            "trim.policy": policy.name,
            "trim.parameter": policy.parameter,
        }
        with self.tracing.request(headers, request.operation, request.model, asked) as span:
            try:
                yield span
            finally:
                if span.recorded:
                    usage = response.usage()
                    span.set_tokens(usage["prompt_tokens"], usage["completion_tokens"])
                    span.set({"gen_ai.response.finish_reasons": [answer.finish for answer in response.answers]})
                    span.set({"trim.strong_share": response.strong_share, "trim.cost": response.cost})

    def settle(self, job: Job, status: str, seconds: float) -> None:
        """A request has ended, in whatever way: charge, count and record what was used, and move the controllers.

        The work is done and paid for, so nothing of this fails: what one part cannot take is logged.
        """
        response, policy = job.response, job.choice.policy
        with _logged("the charge of a request"):
            strong = sum(answer.strong_tokens for answer in response.answers)
            cost = response.cost or 0.0  # one that is not known: caps need every price, so none is held to it
            self.usage.charge(job.key.name, UsageTotals(cost, strong, 1), job.allowance.id)
        with _logged("the metrics of a request"):
            self.metrics.add_usage(response.usage_by_role(), response.cost)
            self.metrics.requests.labels(policy.name, status).inc()
            self.metrics.duration.observe(seconds)
        self.recent.appendleft(RecentRequest(job.key.name, job.question.text[:300], status, response))
        logger.info("%s %s %s %s %s %.3f s", response.id, job.key.name, policy.name, policy.parameter, status, seconds)
        for answer in response.answers:
            with _logged("the metrics of an answer"):
                self._count(answer)
            with _logged("the controller of a target"):
                self._follow(job, answer)
            if answer.trace is not None:
                with _logged("a trace"):
                    self._record(answer.trace)

    def _count(self, answer: Answer) -> None:
        for role, count in Counter(decision.step.role for decision in answer.decisions).items():
            self.metrics.steps.labels(role.value).inc(count)
        self.metrics.rejected_drafts.inc(sum(len(decision.rejected) for decision in answer.decisions))
        for fallback in answer.trace.fallbacks if answer.trace is not None else ():
            logger.warning("the %s model took over: %s", fallback.to.value, fallback.error)
            self.metrics.fallbacks.labels(fallback.role.value).inc()

    def _follow(self, job: Job, answer: Answer) -> None:
        """Move the controller of the target that the request followed."""
        if job.choice.target is None:
            return
        scores = [decision.score for decision in answer.decisions if decision.score is not None]
        alone = Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.tokens)
        full = answer.router.prices.strong.of(alone) or 0.0
        outcome = AnswerOutcome(answer.strong_tokens, answer.tokens, answer.cost or 0.0, full, scores)
        controller = self.controllers.update(job.choice.target, outcome)
        if controller is None:
            return
        self._show(controller, target_name(job.choice.target))
        if needs_preparation(job.choice.policy):
            self.preparation.ahead(controller.upcoming())

    def _show(self, controller: ShareController, target: str) -> None:
        """The metrics of a controller."""
        self.metrics.set_controller(controller.policy().name, target, controller.state.share, controller.state.effort)

    def _budget(self, request: BaseRequest, budget: Budget, questions: int) -> Budget:
        """The budget of each answer: the request's own is for all of them, the configured one for each question."""
        configured, options = self.backends.config.budget, request.trim or TrimOptions()
        each = _shared(budget, request.count)
        if options.max_strong_tokens is None and options.max_cost is None:
            return each
        asked = _shared(Budget(options.max_strong_tokens, options.max_cost), request.count * questions)
        own = _shared(Budget(configured.max_strong_tokens, configured.max_cost), request.count)
        return Budget(
            min((cap for cap in (asked.max_strong_tokens, own.max_strong_tokens) if cap is not None), default=None),
            min((cap for cap in (asked.max_cost, own.max_cost) if cap is not None), default=None),
        )

    @contextmanager
    def open_request(self) -> Iterator[None]:
        """Around a request, until it is settled."""
        self._open_requests += 1
        self._none_open.clear()
        try:
            yield
        finally:
            self._open_requests -= 1
            if not self._open_requests:
                self._none_open.set()

    async def drain(self) -> None:
        """Wait until the requests that were cancelled are settled; for some seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._none_open.wait()

    def _record(self, trace: Trace) -> None:
        if self.recorder is not None:
            self.recorder.append(trace)

    def summary(self, key: ApiKey) -> dict[str, Any]:
        """Which judge scores, what a key has used in this hour and on this day (UTC), and its latest requests. Without
        keys nobody knows whose is whose: no requests, unless the settings say that everybody may see them.
        """
        if key is ANONYMOUS and not self.settings.recent_requests:
            return {"judge": self._judge, "hour": None, "day": None, "recent": []}
        hour = self.usage.hour()
        unknown = {"cost": None} if self.backends.spec.prices.missing else {}
        return {
            "judge": self._judge,
            "hour": asdict(self.usage.totals(hour, key.name)) | unknown,
            "day": asdict(self.usage.totals(hour - hour % 24, key.name)) | unknown,
            "recent": [recent.as_json() for recent in self.recent if recent.key == key.name],
        }

    def scrape(self) -> bytes:
        """The metrics, in the text format of Prometheus."""
        metrics = self.metrics
        for breaker in self.breakers.values():
            breaker.tell()
        hour = self.usage.hour()
        metrics.spend_reserved.set(self.usage.reserved())
        for hours, window in ((1, "hour"), (24, "day")):
            metrics.spend.labels(window).set(self.usage.totals(hour // hours * hours).cost)
            if (target := self.settings.spend_targets().get(hours)) is not None:
                metrics.spend_target.labels(window).set(target)
        if not metrics.shared:  # else the process that has moved one last has set it
            for followed, controller in self.controllers.items():
                self._show(controller, followed)
        return metrics.text()

    def close(self) -> None:
        """Close the files, stop preparing policies and checking backends."""
        for breaker in self.breakers.values():
            breaker.close()
        if self.recorder is not None:
            self.recorder.close()
        self.usage.close()
        self.preparation.close()


@asynccontextmanager
async def open_gateway(
    config: Config,
    redact: Redact | None = None,
    clock: Callable[[], float] | None = None,
    elapsed: Callable[[], float] | None = None,
) -> AsyncIterator[Gateway]:
    """Open the models of a configuration and a gateway over them; close everything at the end. See `Gateway`."""
    # Names are looked up in these threads: a resolver that hangs for one server must leave some for the others.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_LOOKUPS, "asyncio"))
    async with open_backends(config) as backends:
        for backend in (backends.weak, backends.strong, backends.prm):
            backend.prepare()
            inner = innermost(backend)
            if isinstance(inner, ServerBackend):
                inner.server.patience = _PATIENCE
                inner.server.silence.shorten(max(_SHORTEST_SILENCE, config.serve.deadline * _SHARE_OF_DEADLINE))
        gateway = Gateway(backends, redact, clock, elapsed)
        SharedCircuits(gateway.breakers, backends, gateway.usage).begin()
        try:
            yield gateway
        finally:
            gateway.close()


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """An error is logged and goes no further."""
    try:
        yield
    except Exception:
        logger.exception("%s was not recorded", what)


def _shared(budget: Budget, answers: int) -> Budget:
    """A budget shared evenly among answers."""
    tokens, cost = budget.max_strong_tokens, budget.max_cost
    return Budget(None if tokens is None else tokens // answers, None if cost is None else cost / answers)


def _passed_through(request: PassthroughRequest, choice: Choice) -> Choice:
    """The strong model alone, whichever policy was chosen, unless that was the weak model alone."""
    if isinstance(choice.policy, AlwaysWeak):
        message = f"{request.reasons[0]} needs the strong model, but the request asks for the weak one"
        raise ApiError(400, message, "unsupported_parameter", request.reasons[0])
    return Choice(AlwaysStrong(), choice.budget)
