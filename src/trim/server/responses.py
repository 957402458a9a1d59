"""What clients get: OpenAI's objects with a `trim` object that says who wrote what, and what it cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

from trim.server.completion_stream import Answer, Piece
from trim.types import Decision, Draft, Role, Usage

Json = dict[str, Any]


@dataclass(frozen=True)
class Replies:
    """The replies to one chat request.

    Args:
        model: the name that was asked for.
        answers: one per choice.
        count: answers to each question.
        drafts: show the texts of rejected drafts.
        include_usage: streams end with a chunk of token counts, as asked for in `stream_options`.
    """

    model: str
    answers: Sequence[Answer]
    count: int = 1
    drafts: bool = False
    include_usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    _kind: ClassVar[str] = "chat.completion"
    _chunk_kind: ClassVar[str] = "chat.completion.chunk"
    _end: ClassVar[Json] = {"delta": {}}

    def completion(self, texts: Sequence[str]) -> Json:
        """The whole reply."""
        choices = [
            {"index": index} | self._whole(text) | {"logprobs": None, "finish_reason": answer.finish}
            for index, (answer, text) in enumerate(zip(self.answers, texts, strict=True))
        ]
        return self._head(self._kind) | {"choices": choices, "usage": self.usage(), "trim": self.trim()}

    def opening(self, index: int) -> Json | None:
        """The first chunk of a choice, if it has one of its own."""
        return self._chunk(index, {"delta": {"role": "assistant", "content": ""}})

    def piece(self, index: int, piece: Piece) -> Json | None:
        """The chunk of an accepted step; None: nothing to say yet."""
        if not piece.text and piece.decision is None:
            return None
        step = {} if piece.decision is None else {"trim": {"step": self.step(index, piece.decision)}}
        return self._chunk(index, self._part(piece.text)) | step

    def closing(self, index: int, *, last: bool) -> Json:
        """The chunk that ends a choice; the last of them has the `trim` object."""
        chunk = self._chunk(index, self._end, self.answers[index].finish)
        return chunk | {"trim": self.trim()} if last else chunk

    def counts(self) -> Json:
        """The chunk with the token counts."""
        return self._head(self._chunk_kind) | {"choices": [], "usage": self.usage(), "trim": self.trim()}

    def usage(self) -> Json:
        """Tokens as a client of one model would count them: its prompt once, and the text it got."""
        prompt = sum(answer.prompt_tokens for answer in self.answers[:: self.count])
        completion = sum(answer.tokens for answer in self.answers)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def trim(self) -> Json:
        """Who wrote what, and the whole bill."""
        first, usage = self.answers[0], self.spent()
        written = sum(answer.tokens for answer in self.answers)
        fallbacks = [
            {"choice": index, "step": fallback.step, "role": fallback.role, "to": fallback.to, "error": fallback.error}
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
            "strong_share": round(usage[Role.STRONG].completion_tokens / max(1, written), 4),
            "cost": self.cost,
            "discarded_tokens": sum(usage[role].discarded_tokens for role in (Role.WEAK, Role.STRONG)),
            "usage": {role.value: asdict(used) for role, used in usage.items()},
            "fallbacks": fallbacks,
            "passed": [],
        }

    def headers(self) -> dict[str, str]:
        """What is known at the beginning."""
        policy = self.answers[0].router.policy
        parameter = {} if policy.parameter is None else {"x-trim-parameter": f"{policy.parameter:.6g}"}
        return {"x-request-id": self.id, "x-trim-policy": policy.name} | parameter

    def totals(self) -> dict[str, str]:
        """The totals as headers, for a reply that is not streamed."""
        trim = self.trim()
        return {
            "x-trim-strong-share": f"{trim['strong_share']:.4f}",
            "x-trim-cost": f"{trim['cost']:.9f}",
            "x-trim-weak-tokens": str(trim["usage"]["weak"]["completion_tokens"]),
            "x-trim-strong-tokens": str(trim["usage"]["strong"]["completion_tokens"]),
            "x-trim-discarded-tokens": str(trim["discarded_tokens"]),
            "x-trim-fallbacks": str(len(trim["fallbacks"])),
        }

    @property
    def cost(self) -> float:
        """The bill so far, in the unit of the prices."""
        return sum(answer.cost for answer in self.answers)

    def step(self, index: int, decision: Decision) -> Json:
        """A kept step: who wrote it, and what was rejected for it."""
        return {
            "choice": index,
            "author": decision.step.role,
            "tokens": decision.step.tokens,
            "score": decision.score,
            "action": decision.action,
            "forced": decision.forced,
            "rejected": [self._draft(draft) for draft in decision.rejected],
        }

    def _draft(self, draft: Draft) -> Json:
        told = {"author": draft.step.role, "tokens": draft.step.tokens, "score": draft.score, "action": draft.action}
        return told | {"text": draft.step.text} if self.drafts else told

    def spent(self) -> dict[Role, Usage]:
        """Usage of all answers so far."""
        sums = {role: Usage() for role in Role}
        for answer in self.answers:
            for role, usage in answer.ledger.usage.items():
                for name in Usage.__slots__:
                    setattr(sums[role], name, getattr(sums[role], name) + getattr(usage, name))
        return sums

    def _whole(self, text: str) -> Json:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _part(self, text: str) -> Json:
        return {"delta": {"content": text}}

    def _chunk(self, index: int, part: Json, finish: str | None = None) -> Json:
        choice = {"index": index, "logprobs": None, "finish_reason": finish} | part
        chunk = self._head(self._chunk_kind) | {"choices": [choice]}
        return chunk | {"usage": None} if self.include_usage else chunk

    def _head(self, kind: str) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@dataclass(frozen=True)
class TextReplies(Replies):
    """The replies to one completion request: prompts' answers stand in the order of the prompts."""

    id: str = field(default_factory=lambda: f"cmpl-{uuid4().hex}")
    _kind: ClassVar[str] = "text_completion"
    _chunk_kind: ClassVar[str] = "text_completion"
    _end: ClassVar[Json] = {"text": ""}

    def opening(self, index: int) -> Json | None:
        """None."""
        return None

    def _whole(self, text: str) -> Json:
        return self._part(text)

    def _part(self, text: str) -> Json:
        return {"text": text}
