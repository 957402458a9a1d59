"""Responses of `POST /v1/responses`, OpenAI's newer API, whole or as a stream of named events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar
from uuid import uuid4

from trim.server.api_error import ApiError
from trim.server.completion_stream import Answer, Delta
from trim.server.responses import ChatResponse, Json

_FIELD = {"output_text": "text", "refusal": "refusal"}  # of a part, by its type
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True)
class ResponsesResponse(ChatResponse):
    """The response to a request of the Responses API. It has one answer, which is one message of one text.

    Args:
        asked: fields of the request that the response repeats.
    """

    asked: Json = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"resp_{uuid4().hex}")
    end_of_stream: ClassVar[bytes] = b""
    _item_id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")
    _parts: list[Json] = field(default_factory=list)  # of the message, as streamed so far
    _numbers: Iterator[int] = field(default_factory=count)

    def completion(self, texts: Sequence[str]) -> Json:
        """The whole response."""
        (answer,), (text,) = self.answers, texts
        parts = [_part("output_text", text)] if text or not answer.refusal else []
        return self._finished([*parts, _part("refusal", answer.refusal)] if answer.refusal else parts)

    def opening(self) -> Iterator[Json]:
        """The events before the text."""
        yield self._event("response.created", response=self._unfinished("in_progress"))
        yield self._event("response.in_progress", response=self._unfinished("in_progress"))
        yield self._event("response.output_item.added", output_index=0, item=self._item("in_progress", []))

    def chunks(self, index: int, delta: Delta) -> Iterator[Json]:
        """The events of a kept step, if there is something to send."""
        step = {} if delta.decision is None else {"trim": {"step": self.step(index, delta.decision)}}
        if delta.text or (step and not delta.refusal):
            yield from self._written("output_text", delta.text, {} if delta.refusal else step)
        if delta.refusal:
            yield from self._written("refusal", delta.refusal, step)

    def closing(self, index: int, *, last: bool) -> Iterator[Json]:
        """The events after the text; the last has the whole response."""
        if not self._parts:
            yield from self._opened("output_text")
        yield from self._closed()
        response = self._finished(self._parts)
        yield self._event("response.output_item.done", output_index=0, item=response["output"][0])
        yield self._event(f"response.{response['status']}", response=response)

    def ending(self) -> Iterator[Json]:
        """Nothing: the last event has the token counts."""
        return iter(())

    def failure(self, error: ApiError) -> Json:
        """The event that ends a stream which failed, with what was written before."""
        code = "rate_limit_exceeded" if error.status == 429 else "server_error" if error.status >= 500 else error.code
        told = {"code": code, "message": error.message, "param": error.param, "type": error.kind}
        output = [self._item("incomplete", self._parts)]
        more = {"error": told, "output": output, "usage": self._counts(), "trim": self.trim()}
        return self._event("response.failed", response=self._unfinished("failed") | more)

    @staticmethod
    def encoded(event: Json) -> bytes:
        """An event as it is sent, with its name."""
        data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        return f"event: {event['type']}\ndata: {data}\n\n".encode()

    def _written(self, kind: str, text: str, step: Json) -> Iterator[Json]:
        """The events of more text of a kind, with what is told of the step."""
        if not self._parts or self._parts[-1]["type"] != kind:
            yield from self._closed()
            yield from self._opened(kind)
        part = self._parts[-1]
        part[_FIELD[kind]] += text
        yield self._of_part(f"response.{kind}.delta", delta=text, **_logprobs(kind)) | step

    def _opened(self, kind: str) -> Iterator[Json]:
        self._parts.append(_part(kind, ""))
        yield self._of_part("response.content_part.added", part=_part(kind, ""))

    def _closed(self) -> Iterator[Json]:
        """The events that end the newest part."""
        for part in self._parts[-1:]:
            kind, name = part["type"], _FIELD[part["type"]]
            yield self._of_part(f"response.{kind}.done", **{name: part[name]}, **_logprobs(kind))
            yield self._of_part("response.content_part.done", part=dict(part))

    def _finished(self, parts: list[Json]) -> Json:
        (answer,) = self.answers
        reason = _INCOMPLETE.get(answer.finish)
        status = "completed" if reason is None else "incomplete"
        ended = {"completed_at": int(time.time())} if reason is None else {"incomplete_details": {"reason": reason}}
        more = {"output": [self._item(status, parts)], "usage": self._counts(), "trim": self.trim()}
        return self._unfinished(status) | ended | more

    def _unfinished(self, status: str) -> Json:
        """A response without output."""
        head = {"id": self.id, "object": "response", "created_at": self.created, "status": status}
        unset = ("completed_at", "error", "incomplete_details", "previous_response_id", "usage", "max_tool_calls")
        fixed = {"background": False, "parallel_tool_calls": True, "store": False, "tool_choice": "auto", "tools": []}
        fixed |= {"reasoning": {"effort": None, "summary": None}, "service_tier": "default"}
        formed = {"text": {"format": {"type": "text"}}, "truncation": "disabled", "top_logprobs": 0}
        return head | dict.fromkeys(unset) | {"model": self.model, "output": []} | fixed | formed | self.asked

    def _item(self, status: str, parts: list[Json]) -> Json:
        """The message."""
        return {"id": self._item_id, "type": "message", "status": status, "role": "assistant", "content": parts}

    def _counts(self) -> Json:
        """Tokens, in this API's words."""
        usage = self.usage()
        return {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": _cached(self.answers[0]), "cache_write_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": sum(answer.reasoning_tokens for answer in self.answers)},
            "total_tokens": usage["total_tokens"],
        }

    def _event(self, kind: str, **fields: object) -> Json:
        return {"type": kind, "sequence_number": next(self._numbers)} | fields

    def _of_part(self, kind: str, **fields: object) -> Json:
        """An event about the newest part."""
        place = {"item_id": self._item_id, "output_index": 0, "content_index": len(self._parts) - 1}
        return self._event(kind, **place, **fields)


def _part(kind: str, text: str) -> Json:
    more: Json = {"annotations": [], "logprobs": []} if kind == "output_text" else {}
    return {"type": kind, _FIELD[kind]: text} | more


def _logprobs(kind: str) -> Json:
    return {"logprobs": []} if kind == "output_text" else {}


def _cached(answer: Answer) -> int:
    """Tokens of the prompt that the first request for it found in a cache."""
    for decision in answer.decisions[:1]:
        return (decision.rejected[0].step if decision.rejected else decision.step).cached_tokens
    return 0
