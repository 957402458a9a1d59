"""The gateway's parts, put together: models, policies, guards, books, counters, records."""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trim.config.factory import Backends, open_backends
from trim.config.settings import Config
from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ConfigError,
    InputTooLong,
    TrimError,
)
from trim.policies import AlwaysStrong, AlwaysWeak
from trim.server.admission import Gate
from trim.server.auth import Key, Keys
from trim.server.budget_controller import Controllers, Outcome
from trim.server.circuit_breaker import Guards
from trim.server.completion_stream import Answer
from trim.server.model_catalog import Choice, Models
from trim.server.passthrough import PassedReplies, Passing
from trim.server.prometheus import Metrics
from trim.server.responses import Replies, TextReplies
from trim.server.schemas import Asked, CompletionRequest, PassedRequest, Refusal
from trim.server.trace_recorder import Recorder, Redact
from trim.server.tracing import Spans
from trim.server.usage_store import Books, Spent
from trim.types import Question, Role, Trace, Usage

logger = logging.getLogger("trim.server")
_AT_FAULT = (400, 413, 415, 422)  # statuses of a server that does not accept what is passed to it
_RECENT = 50  # requests that the page can show


@dataclass(frozen=True)
class Job:
    """A request that is understood: who asks, how it is routed, and its replies."""

    key: Key
    request: Asked
    question: Question
    choice: Choice
    replies: Replies


@dataclass(frozen=True)
class Recent:
    """A request that is over, for the page."""

    key: str
    question: str
    status: str
    replies: Replies

    def told(self) -> dict[str, Any]:
        """What the page shows of it."""
        trim = self.replies.trim()
        shown = ("policy", "parameter", "strong_share", "cost", "steps")
        head = {"id": self.replies.id, "question": self.question[:300], "status": self.status}
        return head | {name: trim[name] for name in shown}


class Gateway:
    """Everything that serves requests over open models.

    Args:
        backends: the models; `backends.config.serve` has the settings.
        redact: may rewrite or drop a trace before it is recorded.
        clock: seconds since 1970, for the books.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """

    def __init__(
        self, backends: Backends, redact: Redact | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.backends = backends
        self.settings = serve = backends.config.serve
        self.metrics = Metrics()
        self.spans = Spans()
        self.guards = Guards(serve, self.metrics, self.spans)
        self.keys = Keys(serve.keys)
        self.books = Books(serve.state, clock)
        self.gate = Gate(serve, self.books)
        self.controllers = Controllers(self.books, serve.spend_targets())
        self.models = Models(backends.config, self.controllers)
        self.passing = Passing(backends, self.guards.breakers[Role.STRONG]) if serve.pass_through else None
        self.recent: deque[Recent] = deque(maxlen=_RECENT)
        self.recorder = Recorder(Path(serve.record), serve.record_mb * 1e6, redact) if serve.record else None

    def job(self, key: Key, request: Asked) -> Job:
        """Work out how a request is answered.

        Raises:
            Refusal: it asks for something that is not there.
        """
        questions = request.questions()
        choice = self.models.choose(request.model, request.trim)
        count, most = request.n or 1, self.settings.max_choices
        if count * len(questions) > most:
            where = "n" if count > most else request.where
            raise Refusal(400, f"a request has at most {most} answers here", "invalid_value", where)
        if isinstance(request, PassedRequest):
            choice = _passed(request, choice)
        replies = self._replies(request, questions, choice)
        if self.settings.log_questions:
            logger.info("%s asks: %s", replies.id, "; ".join(question.text for question in questions))
        return Job(key, request, questions[0], choice, replies)

    def _replies(self, request: Asked, questions: list[Question], choice: Choice) -> Replies:
        count, told, options = request.n or 1, request.trim, request.stream_options
        first = secrets.randbits(31) if request.seed is None else request.seed
        seeds = range(first, first + count)
        max_tokens = min(request.most() or self.settings.max_tokens, self.settings.max_tokens)
        include_usage = options is not None and bool(options.include_usage)
        if isinstance(request, PassedRequest):
            assert self.passing is not None
            passed = self.passing.answers(request, seeds, budget=choice.budget, max_tokens=max_tokens)
            return PassedReplies(request.model, passed, count, include_usage=include_usage, reasons=request.reasons)
        router = self._sampled(request).router(choice.policy, budget=choice.budget, max_tokens=max_tokens)
        stops = tuple(request.stop or ())
        return (TextReplies if isinstance(request, CompletionRequest) else Replies)(
            request.model,
            [Answer(router, question, seed, stops) for question in questions for seed in seeds],
            count,
            drafts=told is not None and bool(told.drafts),
            include_usage=include_usage,
        )

    def _sampled(self, request: Asked) -> Backends:
        """The models behind their breakers, with the request's sampling where it has one."""
        given = {name: value for name in ("temperature", "top_p") if (value := getattr(request, name)) is not None}
        sampling = replace(self.backends.spec.sampling, **given)
        if sampling == self.backends.spec.sampling:
            return self.guards.around(self.backends)
        try:
            return self.guards.around(self.backends.sampled(sampling))
        except ConfigError as error:
            raise Refusal(400, str(error), "unsupported_parameter", next(iter(given))) from None

    def settle(self, job: Job, status: str, seconds: float) -> None:
        """A request is over, however it ended: charge, count, learn and record what there is."""
        replies = job.replies
        usage = replies.spent()
        strong = sum(answer.strong_tokens for answer in replies.answers)
        self.books.charge(job.key.name, Spent(replies.cost, strong, 1))
        self.gate.paid(replies.cost)
        self.metrics.used(usage, replies.cost)
        self.recent.appendleft(Recent(job.key.name, job.question.text, status, replies))
        policy = job.choice.policy
        self.metrics.requests.labels(policy.name, status).inc()
        self.metrics.seconds.observe(seconds)
        logger.info("%s %s %s %s %s %.3f s", replies.id, job.key.name, policy.name, policy.parameter, status, seconds)
        for answer in replies.answers:
            self._learn(job, answer)

    def _learn(self, job: Job, answer: Answer) -> None:
        for decision in answer.decisions:
            self.metrics.steps.labels(decision.step.role.value).inc()
            self.metrics.rejected.inc(len(decision.rejected))
        if job.choice.held is not None:
            scores = [decision.score for decision in answer.decisions if decision.score is not None]
            alone = Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.tokens)
            full = answer.router.prices.strong.of(alone)
            outcome = Outcome(answer.strong_tokens, answer.tokens, answer.cost, full, scores)
            self.controllers.learn(job.choice.held, outcome)
        if answer.trace is not None:
            for fallback in answer.trace.fallbacks:
                self.metrics.fallbacks.labels(fallback.role.value).inc()
            self._record(answer.trace)

    def _record(self, trace: Trace) -> None:
        """Append a trace. A full disk must not take answers away."""
        if self.recorder is None:
            return
        try:
            self.recorder.append(trace)
        except OSError as error:
            logger.error("a trace is not recorded: %s", error)

    def summary(self, key: Key) -> dict[str, Any]:
        """What a key has spent in this hour and on this day (UTC), and its last requests."""
        hour = self.books.hour()
        return {
            "hour": asdict(self.books.spent(hour, key.name)),
            "day": asdict(self.books.spent(hour - hour % 24, key.name)),
            "recent": [recent.told() for recent in self.recent if recent.key == key.name],
        }

    def scrape(self) -> bytes:
        """The counters, with what is only known now."""
        metrics = self.metrics
        metrics.running.set(self.gate.running)
        metrics.waiting.set(self.gate.waiting)
        for role, breaker in self.guards.breakers.items():
            metrics.backend_out.labels(role.value).set(breaker.state != "closed")
        hour = self.books.hour()
        for hours, window in ((1, "hour"), (24, "day")):
            metrics.spend.labels(window).set(self.books.spent(hour // hours * hours).cost)
            if (target := self.settings.spend_targets().get(hours)) is not None:
                metrics.spend_target.labels(window).set(target)
        for held, controller in self.controllers.items():
            labels = (controller.policy().name, held)
            metrics.share.labels(*labels).set(controller.held.share)
            metrics.effort.labels(*labels).set(controller.held.effort)
        return metrics.text()

    def close(self) -> None:
        """Close files."""
        if self.recorder is not None:
            self.recorder.close()
        self.books.close()


@asynccontextmanager
async def open_gateway(config: Config, redact: Redact | None = None) -> AsyncIterator[Gateway]:
    """Load the models or connect to the servers, and everything around them; close it all at the end."""
    async with open_backends(config) as backends:
        for backend in (backends.weak, backends.strong, backends.prm):
            backend.prepare()
        gateway = Gateway(backends, redact)
        try:
            yield gateway
        finally:
            gateway.close()


def _passed(request: PassedRequest, choice: Choice) -> Choice:
    """The strong model alone, whatever was chosen, unless that was the weak model."""
    if isinstance(choice.policy, AlwaysWeak):
        words = f"{request.reasons[0]} needs the strong model, and the weak one was chosen"
        raise Refusal(400, words, "unsupported_parameter", request.reasons[0])
    return Choice(AlwaysStrong(), choice.budget)


def refusal_of(error: TrimError, request: Asked) -> Refusal:
    """How a failure is told to a client."""
    words = str(error)
    if isinstance(error, InputTooLong):
        return Refusal(400, words, "context_length_exceeded", request.where)
    if isinstance(error, BackendRefused) and isinstance(request, PassedRequest) and error.status in _AT_FAULT:
        return Refusal(400, words, "invalid_value", request.reasons[0])
    if isinstance(error, BackendTimeout):
        return Refusal(504, words, "backend_timeout", kind="backend_error")
    if isinstance(error, BackendUnavailable):
        return Refusal(503, words, "backend_unavailable", kind="backend_error", retry_after=1.0)
    if isinstance(error, BackendRefused | BackendError):
        return Refusal(502, words, "backend_error", kind="backend_error")
    return Refusal(400, words, "invalid_value")
