"""Requests that a step router cannot serve (tools, images, log-probabilities, ...), passed to the strong model as they
are, where `[serve] pass_through` says so.

The strong model's server answers whole; its chunks go through as they come. Keys, limits, caps, deadlines, the breaker,
the books and the `trim` object are those of every other request. The server is always asked for a stream: what was
written until a client leaves is known and charged.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from trim.backends.openai import OpenAIGenerator
from trim.config.factory import Backends
from trim.errors import BackendError, BadResponse
from trim.policies import AlwaysStrong
from trim.prompts import ChatTemplate
from trim.server.circuit_breaker import Breaker
from trim.server.completion_stream import Answer, Piece
from trim.server.responses import Json, Replies
from trim.server.schemas import PassedRequest, Refusal
from trim.types import Action, Budget, Decision, Finish, Question, Role, Step

_ONCE = ("role", "id", "type", "name", "index")  # of a streamed message: said once, or again the same


class PassedAnswer(Answer):
    """One choice, written by the strong model's server.

    Args:
        passing: knows the server.
        question: the user's newest words.
        seed: of this answer.
        body: what the server is sent.
    """

    def __init__(self, passing: Passing, question: Question, seed: int, body: Json) -> None:
        super().__init__(passing.backends.router(AlwaysStrong()), question, seed)
        self.whole: Json = {}  # the choice as it stands in a whole reply
        self.end: Json = {}  # the part of a chunk that ended it
        self._passing = passing
        self._body = body
        self._counted = False  # the server has said how many tokens there are

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The choice's parts as the server sends them, but the one that ends it.

        Raises:
            BackendError: the server failed, or ended without an end or a count.
        """
        used, server = self.ledger.usage[Role.STRONG], self._passing.model.server
        used.calls = 1
        try:
            async with aclosing(self._passing.chunks(self._body)) as chunks:
                async for chunk in chunks:
                    part = self._read(chunk)
                    if part is None:
                        continue
                    self.whole = _joined(self.whole, part)
                    if part.get("finish_reason") is None:
                        yield Piece("", raw=part)
                    else:
                        self.end, self.finish = part, str(part["finish_reason"])
            if not self.end:
                raise BadResponse(server.name, "the answer ended in the middle")
            if not self._counted:
                raise BadResponse(server.name, "the answer came without token counts (usage)")
        except BaseException:
            used.discarded_tokens = used.completion_tokens
            raise
        step = Step(
            "",
            Role.STRONG,
            used.completion_tokens,
            Finish.EOS,
            prompt_tokens=used.prompt_tokens,
            cached_tokens=used.cached_tokens,
        )
        self.decisions.append(Decision(step, Action.TAKE_OVER))

    def _read(self, chunk: Json) -> Json | None:
        """Count a chunk; the part of it that belongs to this choice.

        Raises:
            BadResponse: a chunk of another shape.
        """
        used = self.ledger.usage[Role.STRONG]
        try:
            choice = next(iter(chunk.get("choices") or ()), None)
            if usage := chunk.get("usage"):
                self._counted = True
                used.prompt_tokens, used.completion_tokens = (
                    int(usage["prompt_tokens"]),
                    int(usage["completion_tokens"]),
                )
                used.cached_tokens = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
            elif choice is not None and choice["delta"]:
                used.completion_tokens += 1  # at least; the count at the end is right
            if choice is None:
                return None
            part = choice | {"delta": dict(choice["delta"] or {})}
            return {name: _cleaned(value, _sendable) for name, value in part.items() if name != "index"}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            name = self._passing.model.server.name
            raise BadResponse(name, f"an answer of another shape: {type(error).__name__}: {error}") from None


@dataclass(frozen=True)
class PassedReplies(Replies):
    """Replies of the strong model's server, with our heads and `trim` object."""

    reasons: tuple[str, ...] = ()

    def completion(self, texts: Sequence[str]) -> Json:
        """The whole reply."""
        choices = [
            {"index": index, "logprobs": None}
            | {k: v for k, v in answer.whole.items() if k != "delta"}
            | {"message": _message(answer.whole["delta"])}
            for index, answer in enumerate(self.answers)
            if isinstance(answer, PassedAnswer)
        ]
        return self._head(self._kind) | {"choices": choices, "usage": self.usage(), "trim": self.trim()}

    def opening(self, index: int) -> Json | None:
        """None: the server sends its own."""
        return None

    def piece(self, index: int, piece: Piece) -> Json | None:
        """The server's chunk."""
        return None if piece.raw is None else self._chunk(index, piece.raw)

    def closing(self, index: int, *, last: bool) -> Json:
        """The server's chunk that ends a choice; the last of them has the `trim` object."""
        answer = self.answers[index]
        assert isinstance(answer, PassedAnswer)
        chunk = self._chunk(index, answer.end)
        return chunk | {"trim": self.trim()} if last else chunk

    def trim(self) -> Json:
        """Who wrote what: all of it the strong model. `passed` says why."""
        return super().trim() | {"passed": list(self.reasons)}


class Passing:
    """The way to the strong model's server.

    Args:
        backends: the strong model is a server's, as the configuration has checked.
        breaker: the strong model's.
    """

    def __init__(self, backends: Backends, breaker: Breaker) -> None:
        assert isinstance(backends.strong, OpenAIGenerator)
        self.backends = backends
        self.model = backends.strong
        self._breaker = breaker

    def answers(
        self, request: PassedRequest, seeds: Sequence[int], *, budget: Budget, max_tokens: int
    ) -> list[PassedAnswer]:
        """The answers to a request, each asked for by itself: not every server knows `n`.

        Raises:
            Refusal: the budget of the request does not allow it.
        """
        if budget.max_cost is not None:
            words = f"max_cost cannot be held where the strong model answers whole, for {request.reasons[0]}"
            raise Refusal(400, words, "unsupported_parameter", "trim.max_cost")
        if budget.max_strong_tokens is not None:
            max_tokens = min(max_tokens, budget.max_strong_tokens)
        if max_tokens == 0:
            words = f"{request.reasons[0]} needs the strong model, which max_strong_tokens = 0 rules out"
            raise Refusal(400, words, "invalid_value", "trim.max_strong_tokens")
        (question,) = request.questions()
        body = self._body(request, max_tokens)
        return [
            PassedAnswer(self, question, seed, body | ({"seed": seed} if self.model.able.seed else {}))
            for seed in seeds
        ]

    async def chunks(self, body: Json) -> AsyncGenerator[Json, None]:
        """What the server sends, behind the breaker.

        Raises:
            BackendError: the server failed, or is out.
        """
        async with aclosing(self.model.server.stream("chat/completions", body)) as chunks:
            try:
                with self._breaker.watch():
                    first = await anext(chunks)
            except StopAsyncIteration:
                return
            yield first
            while True:
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                except BackendError as error:
                    self._breaker.failed(error)
                    raise
                yield chunk

    def _body(self, request: PassedRequest, max_tokens: int) -> Json:
        """What the server is sent: the client's fields, ours where it said nothing; control tokens are broken."""
        able, sampling = self.model.able, self.backends.spec.sampling
        template = self.model.template or ChatTemplate("")
        told: Json = _cleaned({"messages": request.messages} | request.others, template.clean)
        if template.system:
            first = told["messages"][0]
            if first.get("role") in ("system", "developer") and isinstance(first.get("content"), str):
                told["messages"][0] = first | {"content": f"{template.system}\n\n{first['content']}"}
            else:
                told["messages"].insert(0, {"role": "system", "content": template.system})
        return (
            told
            | {
                "model": self.model.server.model,
                "stream": True,
                "stream_options": {"include_usage": True}
                | ({"continuous_usage_stats": True} if able.running_usage else {}),
                "temperature": sampling.temperature if request.temperature is None else request.temperature,
                "top_p": sampling.top_p if request.top_p is None else request.top_p,
                able.max_tokens: max_tokens,
            }
            | ({"stop": request.stop} if request.stop else {})
            | ({"top_k": sampling.top_k} if able.top_k and sampling.top_k > 0 else {})
        )


def _message(delta: Json) -> Json:
    """A whole message from its joined parts; the numbers of tool calls are the stream's alone."""
    calls = delta.get("tool_calls")
    numbered = calls if isinstance(calls, list) and all(isinstance(call, dict) for call in calls) else []
    unnumbered = [{name: value for name, value in call.items() if name != "index"} for call in numbered]
    return {"content": None, "refusal": None} | delta | ({"tool_calls": unnumbered} if unnumbered else {})


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """A JSON value with all its texts cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(entry, clean) for entry in value]
    if isinstance(value, dict):
        return {clean(name): _cleaned(entry, clean) for name, entry in value.items()}
    return value


def _sendable(text: str) -> str:
    """The text without halves of characters."""
    return text.encode("utf-8", "replace").decode()


def _joined(old: Json, new: Json) -> Json:
    """A streamed object with what came next: texts and lists are continued, numbered entries each by itself."""
    joined = dict(old)
    for name, value in new.items():
        before = joined.get(name)
        if isinstance(before, str) and isinstance(value, str) and name not in _ONCE:
            value = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            value = _joined(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            value = _entries(before, value)
        elif value is None:
            value = before
        joined[name] = value
    return joined


def _entries(old: list[Any], new: list[Any]) -> list[Any]:
    """Tool calls are numbered, and continued by their number; other lists grow."""
    entries = list(old)
    for entry in new:
        number = entry.get("index") if isinstance(entry, dict) else None
        place = next(
            (
                i
                for i, e in enumerate(entries)
                if isinstance(e, dict) and number is not None and e.get("index") == number
            ),
            None,
        )
        if place is None:
            entries.append(entry)
        else:
            entries[place] = _joined(entries[place], entry)
    return entries
