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

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True)
class ResponsesResponse(ChatResponse):
    """The response to a request of the Responses API. It has one answer, which is one message of one text, and of a
    refusal behind it where the model refuses.

    Args:
        asked: fields of the request that the response repeats.
    """

    asked: Json = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"resp_{uuid4().hex}")
    end_of_stream: ClassVar[bytes] = b""
    _item_id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")
    _written: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def completion(self, texts: Sequence[str]) -> Json:
        """The whole response."""
        return self._finished(*texts)

    def opening(self) -> Iterator[Json]:
        """The events before the text."""
        yield self._event("response.created", response=self._unfinished("in_progress"))
        yield self._event("response.in_progress", response=self._unfinished("in_progress"))
        yield self._event("response.output_item.added", output_index=0, item=self._item("in_progress"))
        yield self._of_part("response.content_part.added", part=_part(""))

    def chunks(self, index: int, delta: Delta) -> Iterator[Json]:
        """The event of a kept step, if there is something to send."""
        if delta.refusal:
            part = {"content_index": 1, "part": _refusal("")}
            yield self._of_part("response.content_part.added") | part
            yield self._of_part("response.refusal.delta", delta=delta.refusal) | {"content_index": 1}
        if delta.text or delta.decision is not None:
            self._written.append(delta.text)
            step = {} if delta.decision is None else {"trim": {"step": self.step(index, delta.decision)}}
            yield self._of_part("response.output_text.delta", delta=delta.text, logprobs=[]) | step

    def closing(self, index: int, *, last: bool) -> Iterator[Json]:
        """The events after the text; the last has the whole response."""
        text = "".join(self._written)
        response = self._finished(text)
        yield self._of_part("response.output_text.done", text=text, logprobs=[])
        yield self._of_part("response.content_part.done", part=_part(text))
        if refusal := self.answers[0].refusal:
            yield self._of_part("response.refusal.done", refusal=refusal) | {"content_index": 1}
            yield self._of_part("response.content_part.done", part=_refusal(refusal)) | {"content_index": 1}
        yield self._event("response.output_item.done", output_index=0, item=response["output"][0])
        yield self._event(f"response.{response['status']}", response=response)

    def ending(self) -> Iterator[Json]:
        """Nothing: the last event has the token counts."""
        return iter(())

    def failure(self, error: ApiError) -> Json:
        """The event that ends a stream which failed, with what was written before."""
        code = "rate_limit_exceeded" if error.status == 429 else "server_error" if error.status >= 500 else error.code
        told = {"code": code, "message": error.message, "param": error.param, "type": error.kind}
        output = [self._item("incomplete", "".join(self._written))]
        more = {"error": told, "output": output, "usage": self._counts(), "trim": self.trim()}
        return self._event("response.failed", response=self._unfinished("failed") | more)

    @staticmethod
    def encoded(event: Json) -> bytes:
        """An event as it is sent, with its name."""
        data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        return f"event: {event['type']}\ndata: {data}\n\n".encode()

    def _finished(self, text: str) -> Json:
        (answer,) = self.answers
        reason = _INCOMPLETE.get(answer.finish)
        status = "completed" if reason is None else "incomplete"
        ended = {"completed_at": int(time.time())} if reason is None else {"incomplete_details": {"reason": reason}}
        more = {"output": [self._item(status, text)], "usage": self._counts(), "trim": self.trim()}
        return self._unfinished(status) | ended | more

    def _unfinished(self, status: str) -> Json:
        """A response without output."""
        head = {"id": self.id, "object": "response", "created_at": self.created, "status": status}
        unset = ("completed_at", "error", "incomplete_details", "previous_response_id", "usage", "max_tool_calls")
        fixed = {"background": False, "parallel_tool_calls": True, "store": False, "tool_choice": "auto", "tools": []}
        fixed |= {"reasoning": {"effort": None, "summary": None}, "service_tier": "default"}
        formed = {"text": {"format": {"type": "text"}}, "truncation": "disabled", "top_logprobs": 0}
        return head | dict.fromkeys(unset) | {"model": self.model, "output": []} | fixed | formed | self.asked

    def _item(self, status: str, text: str | None = None) -> Json:
        """The message; None: it has no text yet."""
        content = [] if text is None else [_part(text)]
        if content and self.answers[0].refusal:
            content.append(_refusal(self.answers[0].refusal))
        return {"id": self._item_id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _counts(self) -> Json:
        """Tokens, in this API's words."""
        usage = self.usage()
        return {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": _cached(self.answers[0]), "cache_write_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        }

    def _event(self, kind: str, **fields: object) -> Json:
        return {"type": kind, "sequence_number": next(self._numbers)} | fields

    def _of_part(self, kind: str, **fields: object) -> Json:
        return self._event(kind, item_id=self._item_id, output_index=0, content_index=0, **fields)


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _refusal(text: str) -> Json:
    return {"type": "refusal", "refusal": text}


def _cached(answer: Answer) -> int:
    """Tokens of the prompt that the first request for it found in a cache."""
    for decision in answer.decisions[:1]:
        return (decision.rejected[0].step if decision.rejected else decision.step).cached_tokens
    return 0
