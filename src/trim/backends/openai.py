"""A step generator for any server that speaks OpenAI's API.

Three ways to continue a partial solution (`continuation`):
- completions: the chat template is rendered here, the kept steps are appended, the server continues the text. Works on
  vLLM, SGLang, llama-server, llama-cpp-python and transformers, and is the only way that works on all of them.
- chat: the kept steps are a last assistant message that the server continues, where it is declared to know how.
- instruct: the model is asked in words for what comes next. For servers with neither (OpenAI).

One long stream is cut into steps here; for a single step a stop string is sent where the server says that it was that
string, and not the end of the solution, that stopped it.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections import deque
from dataclasses import replace
from typing import Any

from trim.backends.answer_counts import AnswerTotals
from trim.backends.capabilities import Capabilities, Continuation, capabilities
from trim.backends.client import ServerBackend
from trim.backends.prefix_repetition import Head, PrefixRepetition
from trim.backends.probe import PROBED, try_generator
from trim.backends.request_extras import RequestExtras
from trim.backends.response_stream import Answer, whole
from trim.backends.server_facts import ServerFacts
from trim.backends.step_assembly import Assembler, Begun, Chunk, Terms
from trim.backends.token_counter import TokenCounter
from trim.backends.token_counts import TextCounter, size
from trim.backends.token_limits import TokenLimits
from trim.backends.token_logprobs import TOP
from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BadResponse,
    ConfigError,
    InputTooLong,
    OutputTooLong,
)
from trim.off_loop import off_loop
from trim.prompts import ChatTemplate
from trim.protocols import LateCounts, Probe, StepStream
from trim.reasoning import fed
from trim.seeding import request_seed
from trim.steps import StepFormat
from trim.types import Finish, Question, Role, Sampling, Step, StepOptions
from trim.visible_text import reasons

_CHARACTER = 8  # what a character of a chunk takes beside one of a text: it may be a line, and a step
_TURN = 32  # chunks after which other streams have their turn
_RESUMES = 3  # times in a row that a broken stream is taken up again
_FLAGS = ("add_generation_prompt", "continue_final_message")
_PARTS = 16  # further requests for one step at most, of a server that ends answers early
_INSTRUCTION = (
    "{question}\n\nThis is the beginning of a solution:\n\n{prefix}\n\nContinue it from exactly there. Don't "
    "repeat what is written, don't comment on it. Put a blank line between steps."
)


class OpenAIGenerator(ServerBackend):
    """A `StepGenerator` over HTTP.

    Args:
        base_url: the API's address with its `/v1`.
        model: the name that the server knows the model by.
        role: weak or strong.
        template: chat template; needed for completions, elsewhere only its system message and special tokens matter.
        sampling: how tokens are chosen.
        form: how solutions are cut into steps.
        backend: kind of server (see `trim.backends.capabilities`), or its capabilities.
        continuation: how a partial solution is continued.
        tokenizer: counts tokens where the server does not; the model's own. Without one, they are estimated.
        api_key: the server's key, if it has one.
        timeout, first_timeout: seconds without content after which a request is given up, and until its answer begins.
        retries: how often a request is tried again before it counts as failed.
        context: tokens that the model can read; None: as the server says, if it does.
        max_tokens: completion tokens of one request at most. Where a step is longer, another request goes on with it.
        ask_server: have the server tell its chat template, for which `template` then is the fallback, and its context.
        logprobs: ask for log-probabilities, so that steps carry `Step.logprob` and `Step.least_logprob`.
        entropies: with them for those of the likeliest tokens, so that steps carry `Step.mean_entropy` and the like.
        extras: see `trim.backends.client.Server`.

    The request's seed comes from (seed, question, index of the step, attempt) of the first step asked for; later steps
    of a stream that is kept open are drawn as the server goes on from there.

    Raises:
        ConfigError: the combination cannot work; says what to change.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        role: Role,
        template: ChatTemplate | None = None,
        *,
        sampling: Sampling | None = None,
        form: StepFormat | None = None,
        backend: str | Capabilities = "generic",
        continuation: Continuation = "completions",
        tokenizer: TokenCounter | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        context: int | None = None,
        max_tokens: int = 2048,
        logprobs: bool = False,
        entropies: bool = False,
        extras: RequestExtras = RequestExtras(),
        ask_server: bool = False,
        first_timeout: float | None = None,
    ) -> None:
        self.able = capabilities(backend) if isinstance(backend, str) else backend
        super().__init__(
            backend if isinstance(backend, str) else "custom",
            f"{role.value} model",
            base_url,
            model,
            api_key=api_key,
            timeout=timeout,
            retries=retries,
            extras=extras,
            key_header=self.able.key_header,
            first_timeout=first_timeout,
        )
        self.role = role
        self._continuation: Continuation = continuation
        self._template = template
        self.facts = ServerFacts(self.server, self.able, template) if ask_server else None
        self.form = form or StepFormat()
        self.sampling = sampling or Sampling()
        self.counter = tokenizer
        self.text_counter = TextCounter(tokenizer)
        self.limits = TokenLimits(self.server.name, self.text_counter, context, exact=tokenizer is not None)
        self.max_tokens = max_tokens
        self.logprobs = logprobs
        self.entropies = logprobs and entropies
        # A white-space stop string ends a chat reply at once where the server has trimmed the kept steps' last blank
        # line, so chat streams are always cut here.
        self.can_stop = continuation == "completions" and self.form.stop is not None and self.able.stop != "hides"
        counted = self.able.running_usage or self.able.timings or (logprobs and self.able.logprobs)
        running = self.able.stream and counted
        # A request per step, where its usage is the step's, is worth more than an estimate.
        self.one_by_one = self.counter is None and not running and self.can_stop and self.able.usage
        self.stop_is_kept = False  # in the text, as was seen
        self.repetition = PrefixRepetition(self.able.repeats_prefix if continuation == "chat" else False)
        self._check()

    def _check(self) -> None:
        name, able = self.server.name, self.able
        if self.continuation not in ("completions", "chat", "instruct"):
            raise ConfigError(f"{name}: continuation {self.continuation!r} is not completions, chat or instruct")
        if self.continuation == "completions" and not able.completions:
            raise ConfigError(f"{name}: this backend has no /completions; set continuation to chat or instruct")
        if self.continuation == "completions" and self.template is None:
            raise ConfigError(f"{name}: completions need a chat template (the model's folder or a family)")
        if self.continuation == "chat" and able.chat == "none":
            raise ConfigError(f"{name}: this backend's chat cannot continue an answer; use completions or instruct")
        if self.logprobs and not able.logprobs:
            raise ConfigError(f"{name}: this backend gives no log-probabilities")

    @property
    def continuation(self) -> Continuation:
        """How a partial solution is continued: as declared, in words once the server has refused to continue one."""
        refused = self._continuation == "chat" and not self.server.parameters.prefill
        return "instruct" if refused else self._continuation

    @property
    def template(self) -> ChatTemplate | None:
        """The chat template: the server's, if it was asked and has told one, else the configured one."""
        told = None if self.facts is None else self.facts.template
        return told or self._template

    async def learn(self, question: Question | None = None) -> None:
        """Have the server say, once, what it tells of its model; and render a question where only it can."""
        if self.facts is None:
            return
        await self.facts.learn()
        if self.facts.context is not None:
            self.limits.learn(self.facts.context)
        if question is not None and self.continuation == "completions":
            await self.facts.render(question)

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> StepStream:
        """Continue `kept`; see `trim.protocols.StepGenerator`."""
        return _Stream(self, question, kept, options)

    def sampled(self, sampling: Sampling) -> OpenAIGenerator:
        """The same model over the same connections, with tokens chosen in another way."""
        other = copy.copy(self)
        other.sampling = sampling
        return other

    async def trial(self, found: Probe) -> Probe:
        """What the server does; see `trim.backends.probe`."""
        await self.learn(PROBED)
        listed = found.models if self.able.lists_models else None
        return await try_generator(self, replace(found, models=listed, context=found.context or self.limits.context))

    # Requests ---------------------------------------------------------------------------------------------------

    def prompt(self, question: Question, prefix: str) -> str:
        """What the model reads, as text: sent for completions, for chats only counted (without their markup if there
        is no template).
        """
        if self.template is not None and self.continuation != "instruct":
            return self.template.render(question.text, prefix, question.messages)
        return "\n".join(message["content"] for message in self.messages(question, prefix))

    def messages(self, question: Question, prefix: str) -> list[dict[str, Any]]:
        """The chat that asks for a continuation of `prefix`."""
        template = self.template or ChatTemplate("")
        prefix = template.clean(prefix) if self.continuation == "instruct" else template.clean_answer(prefix)
        messages: list[dict[str, Any]] = [*template.conversation(question.text, question.messages)]
        if prefix and self.continuation == "instruct":
            messages[-1] = _in_words(messages[-1], prefix)
        if prefix and self.continuation == "chat":
            last = {"role": "assistant", "content": prefix}
            messages.append(last | {"prefix": True} if self.able.chat == "prefix" else last)
        return messages

    def settings(self, seed: int) -> dict[str, Any]:
        """What every request says: the model, how tokens are chosen, and whether the answer is streamed."""
        able, sampling = self.able, self.sampling
        body: dict[str, Any] = {
            "model": self.server.model,
            "temperature": sampling.temperature,
            "stream": able.stream,
        }
        if able.top_p:
            body["top_p"] = sampling.top_p
        if able.seed:
            body["seed"] = seed
        if able.top_k and sampling.top_k > 0:
            body["top_k"] = sampling.top_k
        if able.stream and able.usage:
            more = {"continuous_usage_stats": True} if able.running_usage else {}
            body["stream_options"] = {"include_usage": True} | more
        if able.stream and able.timings:
            body["timings_per_token"] = True
        return body

    def body(self, question: Question, prefix: str, *, max_tokens: int, stop: bool, seed: int) -> dict[str, Any]:
        """The request for a continuation of `prefix`."""
        able, body = self.able, self.settings(seed)
        if self.continuation == "completions":
            body |= {"prompt": self.prompt(question, prefix), "max_tokens": max_tokens}
            if self.logprobs:
                body["logprobs"] = TOP if self.entropies else 1
        else:
            body |= {"messages": self.messages(question, prefix), able.max_tokens: max_tokens}
            if self.logprobs:
                body["logprobs"] = True
                body |= {"top_logprobs": TOP} if self.entropies else {}
            if prefix and self.continuation == "chat" and able.chat == "flags":
                body |= {"add_generation_prompt": False, "continue_final_message": True}
        if stop:
            body["stop"] = [self.form.stop]
            if able.stop == "verbose":
                body["verbose"] = True
        return body

    async def send(self, body: dict[str, Any]) -> Answer:
        """Send a request; returns once the server has begun to answer. A server that refuses to continue a partial
        answer is asked in words.
        """
        self.usage.calls += 1
        try:
            return await self._send(body)
        except BackendRefused as refusal:
            partial = "messages" in body and body["messages"][-1]["role"] == "assistant"
            if not partial or not self.server.parameters.learn_prefill(refusal.problem):
                raise
            *messages, asked, begun = body["messages"]
            others = {name: value for name, value in body.items() if name not in _FLAGS}
            return await self._send(others | {"messages": [*messages, _in_words(asked, begun["content"])]})

    async def _send(self, body: dict[str, Any]) -> Answer:
        path = "completions" if "prompt" in body else "chat/completions"
        if not body["stream"]:
            return Answer(self.server, whole(await self.server.post(path, body)))
        return Answer(self.server, await self.server.open_stream(path, body))


def _in_words(asked: dict[str, Any], prefix: str) -> dict[str, Any]:
    """A message, as one that asks for the continuation of the answer begun."""
    return asked | {"content": _INSTRUCTION.format(question=asked["content"], prefix=prefix.strip())}


class _Stream:
    """The steps of one solution; opens as many requests as that takes."""

    def __init__(self, model: OpenAIGenerator, question: Question, kept: tuple[str, ...], options: StepOptions) -> None:
        self._model = model
        self._question = question
        self._kept = kept
        self._steps: list[Step] = []  # written since
        self._options = options
        self._ready: deque[Step] = deque()
        self._answer: Answer | None = None
        self._assembler: Assembler | None = None
        self._head = Head("", repeats=False)
        self._spent = 0  # tokens of finished steps
        self._lost = 0  # tokens read of steps that were never finished, by requests that have ended
        self._used = AnswerTotals()  # by requests that have ended
        self._handed = AnswerTotals()  # what the steps handed over carry
        self._breaks = 0
        self._advances = 0
        self._begun: Begun | None = None  # the step that the next request goes on with
        self._parts = 0  # requests that have gone on with it
        self._ended = self._left() == 0 or self._budget() == 0

    def __aiter__(self) -> _Stream:
        return self

    @property
    def pending_tokens(self) -> int:
        """Tokens read that are in none of the steps handed over."""
        unfinished = self._assembler.pending_tokens if self._assembler is not None else 0
        unfinished += self._begun.tokens if self._begun is not None else 0
        return self._lost + unfinished + sum(step.tokens for step in self._ready)

    @property
    def late_counts(self) -> LateCounts:
        """What the requests have used besides the steps handed over and `pending_tokens`."""
        used, handed = self._used, self._handed
        if self._assembler is not None:
            used += self._assembler.totals
        return LateCounts(
            used.prompt - handed.prompt,
            used.cached - handed.cached,
            used.completion - handed.completion - self.pending_tokens,
            used.estimated,
        )

    async def __anext__(self) -> Step:
        if self._ready:  # a large chunk has thousands of steps: other streams go on between two of them
            await asyncio.sleep(0)
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            self._advances += 1
            if self._advances % _TURN == 0:  # what has arrived already is read without waiting for anything
                await asyncio.sleep(0)
            await self._advance()
        step = self._ready.popleft()
        self._handed += AnswerTotals(step.prompt_tokens, step.cached_tokens, step.tokens)
        return step

    async def aclose(self) -> None:
        """Stop; cancels the request upstream."""
        self._ended = True
        await self._close_answer()

    async def _advance(self) -> None:
        """Open a request, or read a chunk."""
        if self._answer is None or self._assembler is None:
            await self._open()
            return
        try:
            chunk = await self._answer.next()
        except BackendError as error:
            # A server that has fallen silent has had its time, and what it calls an error itself is one.
            if isinstance(error, BackendTimeout) or not error.retryable:
                raise
            await self._resume(error)
            return
        if chunk is None and not self._assembler.finished:
            await self._resume(BadResponse(self._model.server.name, "the answer ended in the middle"))
        elif chunk is None:
            rest = Chunk(self._head.rest())
            length = self._assembler.length + len(rest.text)
            steps = await off_loop(length, self._assembler.feed, rest)
            await self._take([*steps, *await off_loop(length, self._assembler.end)])
        else:
            chunk = replace(chunk, text=self._head.feed(chunk.text))
            await self._take(await off_loop(_CHARACTER * chunk.length, self._assembler.feed, chunk))

    async def _take(self, steps: list[Step]) -> None:
        """Queue finished steps; at the end of an answer decide whether another is needed."""
        assembler = self._assembler
        assert assembler is not None
        for step in [await self._recounted(step, assembler) for step in steps]:
            self._breaks = 0
            self._steps.append(step)
            self._spent += step.tokens
            self._ready.append(step)
        if steps:
            self._begun, self._parts = None, 0
        self._model.stop_is_kept = self._model.stop_is_kept or assembler.stop_was_kept
        if self._model.able.stop == "verbose" and assembler.stop_was_untold:  # an older llama-server
            self._model.can_stop = False
        if assembler.unfinished is not None:
            await self._go_on(assembler.unfinished)
        elif assembler.done:
            await self._close_answer()
            last = self._ready[-1].finish if self._ready else Finish.SEPARATOR
            empty = assembler.given == 0
            self._ended = empty or last is not Finish.SEPARATOR or self._left() == 0 or self._budget() == 0

    async def _recounted(self, step: Step, assembler: Assembler) -> Step:
        """The step with the server's own count of its text, where that is better than an estimate."""
        facts = self._model.facts
        if not step.estimated or facts is None or self._model.counter is not None or assembler.is_counted:
            return step
        tokens = await facts.count(step.text)
        if tokens is None:
            return step
        tokens += step.finish is Finish.EOS  # the end has a token without a text
        self._model.text_counter.learn(size(step.text), tokens)
        assembler.correct(tokens - step.tokens)
        return replace(step, tokens=tokens)

    async def _go_on(self, begun: Begun) -> None:
        """The step that the server has ended is not complete: another request goes on with it, if it may be longer."""
        await self._close_answer()
        self._begun = begun
        self._parts += 1
        if self._room(1) == 0 or self._parts > _PARTS:
            self._cut(begun)

    def _cut(self, begun: Begun) -> None:
        """The step ends here."""
        self._begun, self._ended = None, True
        self._ready.append(begun.step(self._model.role, Finish.LENGTH))

    async def _open(self) -> None:
        """Send the request that continues the kept steps."""
        model = self._model
        await model.learn(self._question)
        before = "".join(self._kept)
        prefix = before + "".join(fed(self._steps, model.role, reasoning=reasons(before)))
        prefix += "" if self._begun is None else self._begun.text
        left = 1 if model.one_by_one else self._left()
        stop = left == 1 and model.can_stop
        wanted = self._room(left)
        repeats = bool(prefix) and await model.repetition.known(model)
        length = self._question.length + len(prefix)
        prompt, body = await off_loop(length, self._request, prefix, stop=stop, wanted=wanted)
        try:
            ask = await self._send(body, prompt, wanted)
        except InputTooLong:
            if self._begun is None:
                raise
            self._cut(self._begun)
            return
        self._head = Head(prefix if model.continuation == "chat" else "", repeats=repeats)
        terms = Terms(
            model.server.name,
            model.role,
            model.form,
            prompt,
            left,
            model.sampling.max_step_tokens,
            stop,
            model.text_counter,
            ask if model.server.parameters.limits_tokens else None,
            model.stop_is_kept,
            reasoning=await off_loop(length, reasons, prompt if model.continuation == "completions" else prefix),
        )
        self._assembler = Assembler(terms, self._begun)

    def _request(self, prefix: str, *, stop: bool, wanted: int) -> tuple[str, dict[str, Any]]:
        """The text that the model is to continue, and the request for so many tokens more."""
        model, options, question = self._model, self._options, self._question
        index = len(self._kept) + len(self._steps)
        attempt = 0 if self._steps else options.attempt
        seed = request_seed(options.seed, index, attempt, question.text)
        body = model.body(question, prefix, max_tokens=wanted, stop=stop, seed=seed)
        written = body.get("prompt")
        return written if isinstance(written, str) else model.prompt(question, prefix), body

    async def _send(self, body: dict[str, Any], prompt: str, wanted: int) -> int:
        """Send a request for so many tokens, or as many as fit; how many that are."""
        model = self._model
        name = "max_tokens" if "prompt" in body else model.able.max_tokens
        ask = await off_loop(len(prompt), model.limits.fitting, prompt, wanted)
        if model.counter is not None:  # now, as its tokens may be wanted where nobody can wait for them
            await off_loop(len(prompt), model.text_counter.count, prompt)
        try:
            self._answer = await model.send(body | {name: ask})
        except (InputTooLong, OutputTooLong) as refusal:
            fewer = await off_loop(len(prompt), model.limits.fewer, refusal, prompt, ask)
            if fewer is None:
                raise
            ask = fewer
            self._answer = await model.send(body | {name: ask})
        return ask

    async def _resume(self, error: BackendError) -> None:
        """After a break: go on from the last finished step; after a few breaks in a row raise the error."""
        self._breaks += 1
        await self._close_answer()
        if self._breaks > _RESUMES:
            raise error
        await asyncio.sleep(0.1 * 2**self._breaks * random.uniform(0.5, 1.0))

    async def _close_answer(self) -> None:
        """Cancel the request if it is still running; all that it has used is counted."""
        answer, self._answer = self._answer, None
        assembler, self._assembler = self._assembler, None
        if assembler is not None:
            self._lost += assembler.pending_tokens
            self._used += assembler.totals
            assembler.totals.add_to(self._model.usage)
            if self._model.continuation == "completions":
                assembler.learn_prompt()
        if answer is not None:
            await answer.close()

    def _left(self) -> int | None:
        """Steps still wanted."""
        limit = self._options.limit
        return None if limit is None else limit - len(self._steps)

    def _room(self, steps: int | None) -> int:
        """Tokens that so many steps may still have, by their own limit and the stream's; None: any number of them."""
        begun = 0 if self._begun is None else max(1, self._begun.tokens)
        budget = self._budget()
        caps = [] if budget is None else [budget - begun]
        caps += [] if steps is None else [steps * self._model.sampling.max_step_tokens - begun]
        return max(0, min(caps, default=self._model.max_tokens))

    def _budget(self) -> int | None:
        """Completion tokens still allowed; None: no limit."""
        cap = self._options.max_tokens
        return None if cap is None else max(0, cap - self._spent)
