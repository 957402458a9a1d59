"""Passthrough: the strong model's server gets a request that a step router cannot serve (tools, images, ...) unchanged,
if `[serve] pass_through` is set.

That server writes the whole answer; its chunks are forwarded as they come. API keys, limits, caps, deadlines, the
circuit breaker, the usage store and the `trim` object are those of every other request. The server is always asked for
a stream, so that what was written before a client left is known and charged.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from trim.backends.answer_counts import AnswerCounts
from trim.backends.openai import OpenAIGenerator
from trim.backends.surrogates import map_texts
from trim.backends.token_counts import read_counts, size
from trim.config.factory import Backends
from trim.errors import BadResponse
from trim.policies import AlwaysStrong
from trim.prompts import ChatTemplate
from trim.routing.usage import Ledger
from trim.server.allowance import Account, Allowance, AllowanceSpent, Call, Needs
from trim.server.api_error import ApiError
from trim.server.chunk_merging import chunk_of, merge_deltas, whole_message
from trim.server.circuit_breaker import CircuitBreaker
from trim.server.completion_stream import Answer, Delta
from trim.server.parameters import OPEN_SERVER_OPTIONS, OPENAI_HINTS
from trim.server.read_ahead import ReadAhead
from trim.server.responses import ChatResponse, Json
from trim.server.schemas import PassthroughRequest
from trim.types import Action, Budget, Decision, Finish, Question, Role, Step

_ATTACHED = 4_096  # tokens of an image or file, which nobody knows before it is read


class PassthroughAnswer(Answer):
    """One choice, written by the strong model's server.

    Args:
        passthrough: knows the server.
        question: the text of the user's newest message.
        seed: of this answer.
        account: pays for it.
        body: of the request to the server.
    """

    def __init__(self, passthrough: Passthrough, question: Question, seed: int, account: Account, body: Json) -> None:
        super().__init__(passthrough.backends.router(AlwaysStrong()), question, seed, account.ledger)
        self._account = account
        self.whole: Json = {}  # the choice of a response that is not streamed
        self.end: Json = {}  # the part of the chunk that ended it
        self._passthrough = passthrough
        self._body = body
        self._written = ""  # all texts of the choice, for counting them
        model = passthrough.model
        most = body.get(model.able.max_tokens)
        self._counts = AnswerCounts(model.server.name, model.text_counter, _prompt(body), most)

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """The parts of the choice as the server sends them, all but the last.

        Raises:
            BackendError: the server failed, or the answer has no end.
        """
        call = Call()
        try:
            await self._cover(call)
            async with aclosing(self._parts()) as parts:
                async for delta in parts:
                    yield delta
        finally:
            self._account.allowance.end(call)

    async def _cover(self, call: Call) -> None:
        """Ask for as many tokens as the allowance of the request covers.

        Raises:
            AllowanceSpent: it covers none.
        """
        name = self._passthrough.model.able.max_tokens
        tokens = await self._account.cover(call, Role.STRONG, _most_tokens(self._body), self._body[name])
        if not tokens:
            raise AllowanceSpent("a cap on spend leaves nothing for this request")
        self._body |= {name: tokens}

    async def _parts(self) -> AsyncGenerator[Delta, None]:
        model, used = self._passthrough.model, self.ledger.usage[Role.STRONG]
        used.calls = 1
        model.usage.calls += 1
        try:
            async with aclosing(self._passthrough.chunks(self._body)) as source, self._reading(source) as chunks:
                async for chunk in chunks:
                    part = self._read(chunk)
                    if part is None:
                        continue
                    self.whole = merge_deltas(self.whole, part)
                    if not part.get("finish_reason"):
                        yield Delta("", raw=part)
                        continue
                    if self.end:
                        yield Delta("", raw=self.end | {"finish_reason": None})
                    self.end, self.finish = part, str(part["finish_reason"])
            if not self.end:
                raise BadResponse(model.server.name, "the stream broke off")
        except BaseException:
            self._book()
            used.discarded_tokens = used.completion_tokens
            raise
        finally:
            self._counts.totals.add_to(model.usage)
        self._book()
        step = Step(
            "",
            Role.STRONG,
            used.completion_tokens,
            Finish.EOS,
            prompt_tokens=used.prompt_tokens,
            cached_tokens=used.cached_tokens,
            estimated=used.estimated,
        )
        self.decisions.append(Decision(step, Action.TAKE_OVER))

    @asynccontextmanager
    async def _reading(self, source: AsyncIterator[Json]) -> AsyncIterator[ReadAhead[Json]]:
        """The chunks as fast as they come; those that nobody waits for any more are counted too."""
        ahead = ReadAhead(source)
        try:
            yield ahead
        finally:
            await ahead.stop()
            for chunk in ahead.unread:
                with suppress(BadResponse):
                    self._read(chunk)

    def _read(self, chunk: Json) -> Json | None:
        """Count the tokens of a chunk; returns its part of this choice, if it has one.

        Raises:
            BadResponse: the chunk is not valid, or the answer far longer than what was asked for.
        """
        try:
            choice = next(iter(chunk.get("choices") or ()), None)
            part = None if choice is None else chunk_of(choice)
        except (AttributeError, TypeError) as error:
            problem = f"the chunk is not valid: {type(error).__name__}: {error}"
            raise BadResponse(self._passthrough.model.server.name, problem) from None
        text = "" if part is None else _texts_of(part["delta"])
        self._written += text
        self._counts.read(read_counts(chunk), text, [], self._written)
        self._counts.check_size()
        return part

    def _book(self) -> None:
        """Charge what the request has used so far."""
        totals, used = self._counts.totals, self.ledger.usage[Role.STRONG]
        used.prompt_tokens, used.cached_tokens = totals.prompt, totals.cached
        used.completion_tokens, used.estimated = totals.completion, totals.estimated


def _prompt(body: Json) -> str:
    """What the model reads, about, for counting it: images and other data left out."""
    read = {name: body[name] for name in ("messages", "tools") if name in body}
    return json.dumps(map_texts(read, lambda text: "" if text.startswith("data:") else text), ensure_ascii=False)


def _most_tokens(body: Json) -> int:
    """Tokens of a prompt at most: one for each byte of what is read, and so many for each image or file."""
    parts = [part for message in body["messages"] for part in message.get("content") or () if isinstance(part, dict)]
    others = sum(part.get("type") not in ("text", "refusal") for part in parts)
    return size(_prompt(body)) + _ATTACHED * others


def _texts_of(value: object) -> str:
    """What a model has written, in a delta."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(_texts_of(entry) for name, entry in value.items() if name not in ("role", "type", "id"))
    return "".join(map(_texts_of, value)) if isinstance(value, list) else ""


@dataclass(frozen=True)
class PassthroughResponse(ChatResponse):
    """Responses of the strong model's server, with our ids and `trim` object. `reasons` are the unsupported fields."""

    reasons: tuple[str, ...] = ()

    def first_chunk(self, index: int) -> Json | None:
        """None: the server sends its own."""
        return None

    def chunk(self, index: int, delta: Delta) -> Json | None:
        """The server's chunk, with our head."""
        return None if delta.raw is None else self._chunk(index, delta.raw)

    def _choice(self, answer: Answer, text: str) -> Json:
        assert isinstance(answer, PassthroughAnswer)
        others = {name: value for name, value in answer.whole.items() if name != "delta"}
        return others | {"message": whole_message(answer.whole["delta"])}

    def _end(self, answer: Answer) -> Json:
        assert isinstance(answer, PassthroughAnswer)
        return answer.end

    def trim(self) -> Json:
        """The `trim` object; `passthrough` says which fields made the strong model write everything."""
        return super().trim() | {"passthrough": list(self.reasons)}


class Passthrough:
    """Sends requests to the strong model's server.

    Args:
        backends: the strong model runs behind a server, as the configuration has checked.
        breaker: of the strong model.

    `others` are the fields that its server takes beside those that a step router does not support.
    """

    def __init__(self, backends: Backends, breaker: CircuitBreaker) -> None:
        assert isinstance(backends.strong, OpenAIGenerator)
        self.backends = backends
        self.model = backends.strong
        self.others = OPENAI_HINTS | OPEN_SERVER_OPTIONS if self.model.able.top_k else OPENAI_HINTS
        self._breaker = breaker

    def answers(
        self,
        request: PassthroughRequest,
        seeds: Sequence[int],
        *,
        budget: Budget,
        max_tokens: int,
        allowance: Allowance,
    ) -> list[PassthroughAnswer]:
        """The answers to a request, each by a request of its own: not every server supports `n`.

        Raises:
            ApiError: the budget of the request rules it out.
        """
        if budget.max_cost is not None:
            words = (
                f"max_cost cannot be enforced with {request.reasons[0]}, for which the strong model writes everything"
            )
            raise ApiError(400, words, "unsupported_parameter", "trim.max_cost")
        if budget.max_strong_tokens is not None:
            max_tokens = min(max_tokens, budget.max_strong_tokens)
        if max_tokens == 0:
            words = f"{request.reasons[0]} needs the strong model, which max_strong_tokens = 0 rules out"
            raise ApiError(400, words, "invalid_value", "trim.max_strong_tokens")
        (question,) = request.questions()
        body = self._body(request, max_tokens)
        bodies = [self.model.settings(seed) | body for seed in seeds]
        most = _most_tokens(body)
        allowance.needs = Needs.of(
            allowance.prices, AlwaysStrong(), [most] * len(seeds), tokens=max_tokens, strong_tokens=max_tokens
        )
        return [
            PassthroughAnswer(self, question, seed, Account(allowance, Ledger()), each)
            for seed, each in zip(seeds, bodies, strict=True)
        ]

    async def chunks(self, body: Json) -> AsyncGenerator[Json, None]:
        """The chunks that the server sends, behind the circuit breaker.

        Raises:
            BackendError: the server failed, or its circuit is open.
        """
        async with aclosing(self.model.server.stream("chat/completions", body)) as chunks:
            try:
                with self._breaker.call():
                    first = await anext(chunks)
            except StopAsyncIteration:
                return
            yield first
            while True:
                try:
                    with self._breaker.watch():
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                yield chunk

    def _body(self, request: PassthroughRequest, max_tokens: int) -> Json:
        """The client's fields for the server, control tokens escaped."""
        template = self.model.template or ChatTemplate("")
        body: Json = map_texts({"messages": request.messages} | request.passed, template.clean)
        if template.system:
            first = body["messages"][0]
            if first.get("role") in ("system", "developer") and isinstance(first.get("content"), str):
                body["messages"][0] = first | {"content": f"{template.system}\n\n{first['content']}"}
            else:
                body["messages"].insert(0, {"role": "system", "content": template.system})
        asked = {"temperature": request.temperature, "top_p": request.top_p, "stop": request.stop or None}
        given = {name: value for name, value in asked.items() if value is not None}
        return body | given | {self.model.able.max_tokens: max_tokens}
