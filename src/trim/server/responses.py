"""Response bodies: OpenAI's objects with a `trim` object that says which model wrote what, and what it cost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

from trim.server.api_error import ApiError
from trim.server.completion_stream import Answer, Delta
from trim.types import Decision, Draft, Fallback, Prices, Role, Usage

Json = dict[str, Any]


@dataclass(frozen=True)
class ChatResponse:
    """The response to a chat request, whole or in chunks.

    Args:
        model: the name that was asked for.
        answers: one per choice.
        count: answers to each question.
        drafts: include the texts of rejected drafts.
        include_usage: streams end with a chunk of token counts, as asked for in `stream_options`.
        ignored: fields of the request that have no effect.
        notes: what a reader of the answers should know, in sentences.
        exposed: say of a fallback what the failed model's server said.
    """

    model: str
    answers: Sequence[Answer]
    count: int = 1
    drafts: bool = False
    include_usage: bool = False
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exposed: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    end_of_stream: ClassVar[bytes] = b"data: [DONE]\n\n"
    _object: ClassVar[str] = "chat.completion"
    _chunk_object: ClassVar[str] = "chat.completion.chunk"

    def completion(self, texts: Sequence[str]) -> Json:
        """The whole response; `texts` has the text of each choice."""
        answers = zip(self.answers, texts, strict=True)
        choices = [{"index": index, "logprobs": None} | self._choice(*each) for index, each in enumerate(answers)]
        return self._head(self._object) | {"choices": choices, "usage": self.usage(), "trim": self.trim()}

    def opening(self) -> Iterator[Json]:
        """The events that a stream begins with."""
        for index in range(len(self.answers)):
            if (chunk := self.first_chunk(index)) is not None:
                yield chunk

    def chunks(self, index: int, delta: Delta) -> Iterator[Json]:
        """The events of new text."""
        if (chunk := self.chunk(index, delta)) is not None:
            yield chunk

    def closing(self, index: int, *, last: bool) -> Iterator[Json]:
        """The events that end a choice."""
        yield self.last_chunk(index, last=last)

    def ending(self) -> Iterator[Json]:
        """The events after the end of all choices."""
        if self.include_usage:
            yield self.usage_chunk()

    def failure(self, error: ApiError) -> Json:
        """The event that ends a stream which failed."""
        return error.body()

    @staticmethod
    def encoded(event: Json) -> bytes:
        """An event as it is sent."""
        return f"data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()

    def first_chunk(self, index: int) -> Json | None:
        """The chunk that a choice begins with; None: it begins with its text."""
        return self._chunk(index, {"delta": {"role": "assistant", "content": ""}})

    def chunk(self, index: int, delta: Delta) -> Json | None:
        """The chunk of a kept step; None: there is nothing to send yet."""
        if not delta.text and not delta.reasoning and delta.decision is None:
            return None
        step = {} if delta.decision is None else {"trim": {"step": self.step(index, delta.decision)}}
        return self._chunk(index, self._delta(delta)) | step

    def last_chunk(self, index: int, *, last: bool) -> Json:
        """The chunk that ends a choice; that of the last choice has the `trim` object."""
        chunk = self._chunk(index, self._end(self.answers[index]))
        return chunk | {"trim": self.trim()} if last else chunk

    def usage_chunk(self) -> Json:
        """The chunk with the token counts."""
        return self._head(self._chunk_object) | {"choices": [], "usage": self.usage(), "trim": self.trim()}

    def usage(self) -> Json:
        """Tokens as a client of one model would count them: each prompt once, and the text it got."""
        prompt = sum(answer.prompt_tokens for answer in self.answers[:: self.count])
        completion = sum(answer.tokens for answer in self.answers)
        usage: Json = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        if reasoning := sum(answer.reasoning_tokens for answer in self.answers):
            usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
        return usage

    def trim(self) -> Json:
        """The `trim` object: the steps, who wrote them, and the total cost."""
        first, usage = self.answers[0], self.usage_by_role()
        fallbacks = [
            {
                "choice": index,
                "step": fallback.step,
                "role": fallback.role,
                "to": fallback.to,
                "error": self._told(fallback),
            }
            for index, answer in enumerate(self.answers)
            if answer.trace is not None
            for fallback in answer.trace.fallbacks
        ]
        return {
            "policy": first.router.policy.name,
            "parameter": first.router.policy.parameter,
            "seeds": [answer.seed for answer in self.answers],
            "stop_reasons": [None if a.trace is None else a.trace.stop_reason for a in self.answers],
            "steps": [self.step(i, decision) for i, answer in enumerate(self.answers) for decision in answer.decisions],
            "strong_share": self.strong_share,
            "cost": self.cost,
            "discarded_tokens": sum(usage[role].discarded_tokens for role in (Role.WEAK, Role.STRONG)),
            "usage": {role.value: asdict(used) for role, used in usage.items()},
            "fallbacks": fallbacks,
            "passthrough": [],
            "notes": list(self.notes),
        }

    def _told(self, fallback: Fallback) -> str:
        return fallback.error if self.exposed else f"the {fallback.role.value} model failed; the gateway's log says why"

    def headers(self) -> dict[str, str]:
        """Response headers that are known before the first step."""
        policy = self.answers[0].router.policy
        parameter = {} if policy.parameter is None else {"x-trim-parameter": f"{policy.parameter:.6g}"}
        ignored = {"x-trim-ignored": ", ".join(self.ignored)} if self.ignored else {}
        return {"x-request-id": self.id, "x-trim-policy": policy.name} | parameter | ignored

    def totals(self) -> dict[str, str]:
        """Headers with the totals, for a response that is not streamed."""
        trim = self.trim()
        return {
            "x-trim-strong-share": f"{trim['strong_share']:.4f}",
            "x-trim-cost": "unknown" if trim["cost"] is None else f"{trim['cost']:.9f}",
            "x-trim-weak-tokens": str(trim["usage"]["weak"]["completion_tokens"]),
            "x-trim-strong-tokens": str(trim["usage"]["strong"]["completion_tokens"]),
            "x-trim-discarded-tokens": str(trim["discarded_tokens"]),
            "x-trim-fallbacks": str(len(trim["fallbacks"])),
        }

    @property
    def cost(self) -> float | None:
        """The total cost so far, in dollars; None: a price is not known."""
        return Prices.total(answer.cost for answer in self.answers)

    @property
    def strong_share(self) -> float:
        """Strong tokens over tokens of the answers so far."""
        kept = sum(answer.tokens for answer in self.answers)
        return round(sum(answer.strong_tokens for answer in self.answers) / max(1, kept), 4)

    def step(self, index: int, decision: Decision) -> Json:
        """A kept step: which model wrote it, and which texts were rejected before."""
        return {
            "choice": index,
            "role": decision.step.role,
            "tokens": decision.step.tokens,
            "estimated": decision.step.estimated,
            "field": decision.step.field,
            "score": decision.score,
            "action": decision.action,
            "forced": decision.forced,
            "rejected": [self._draft(draft) for draft in decision.rejected],
        }

    def _draft(self, draft: Draft) -> Json:
        step = draft.step
        entry = {"role": step.role, "tokens": step.tokens, "estimated": step.estimated}
        entry |= {"score": draft.score, "action": draft.action}
        return entry | {"text": step.content} if self.drafts else entry

    def usage_by_role(self) -> dict[Role, Usage]:
        """Usage of all answers so far."""
        return {role: sum((answer.ledger.usage[role] for answer in self.answers), Usage()) for role in Role}

    def _choice(self, answer: Answer, text: str) -> Json:
        """The whole choice, without its index."""
        content = None if answer.refusal and not text else text
        message: Json = {"role": "assistant", "content": content, "refusal": answer.refusal or None}
        message |= answer.reasoning
        return {"message": message, "finish_reason": answer.finish}

    def _delta(self, delta: Delta) -> Json:
        others: Json = {"refusal": delta.refusal, delta.reasoning_field: delta.reasoning}
        others = {name: text for name, text in others.items() if text}
        return {"delta": ({"content": delta.text} if delta.text or not others else {}) | others}

    def _end(self, answer: Answer) -> Json:
        """The last chunk's part of the choice."""
        return {"finish_reason": answer.finish, "delta": {}}

    def _chunk(self, index: int, part: Json) -> Json:
        choice = {"index": index, "logprobs": None, "finish_reason": None} | part
        chunk = self._head(self._chunk_object) | {"choices": [choice]}
        return chunk | {"usage": None} if self.include_usage else chunk

    def _head(self, kind: str) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@dataclass(frozen=True)
class CompletionResponse(ChatResponse):
    """The response to a completion request. The choices stand in the order of the prompts."""

    id: str = field(default_factory=lambda: f"cmpl-{uuid4().hex}")
    _object: ClassVar[str] = "text_completion"
    _chunk_object: ClassVar[str] = "text_completion"

    def first_chunk(self, index: int) -> Json | None:
        """None: choices begin with their text."""
        return None

    def _choice(self, answer: Answer, text: str) -> Json:
        return {"text": text + answer.refusal, "finish_reason": answer.finish}

    def _delta(self, delta: Delta) -> Json:
        return {"text": delta.text + delta.refusal}

    def _end(self, answer: Answer) -> Json:
        return {"text": "", "finish_reason": answer.finish}
