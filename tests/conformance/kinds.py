"""Kinds of servers: the shape of their chunks, counts and errors, as documented or seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.backends.test_server_errors import OVERFLOWS
from tests.conformance.scripted_server import Reply, said
from trim.backends.capabilities import Continuation

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"


def event(value: object, *, ascii_only: bool = True) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=ascii_only)}\n\n".encode("utf-8", "surrogatepass")


def openai_counts(prompt: Any, cached: Any, completion: Any) -> Json:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return usage if cached is None else usage | {"prompt_tokens_details": {"cached_tokens": cached}}


def deepseek_counts(prompt: Any, cached: Any, completion: Any) -> Json:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return usage if cached is None else usage | {"prompt_cache_hit_tokens": cached}


@dataclass(frozen=True)
class Kind:
    """One kind of server.

    Args:
        name: in the table.
        backend: what a configuration calls it.
        continuation: how it is asked to continue a text.
        overflow: which of the wordings for a text that is too long is its own.
        running: it counts in every chunk.
        counts: how it words token counts.
        usage_at_end: the counts stand in the chunk that ends the answer, not in one of their own.
        choice: what else its choices have.
        head: what it sends before the first text.
        error: how it wraps the message of an error.
        filtered: a response to a request that its content filter does not let through, if it has one.
        quota: the response of an account without credit.
        repeats: its chat repeats the partial answer: always, never, or (None) by version.
    """

    name: str
    backend: str
    continuation: Continuation
    overflow: str
    running: bool = False
    counts: Any = openai_counts
    usage_at_end: bool = False
    choice: Json = field(default_factory=dict)
    head: Sequence[bytes] = ()
    error: str = "openai"
    filtered: Reply | None = None
    quota: Reply = field(
        default_factory=lambda: said(
            429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
        )
    )
    repeats: bool | None = False

    @property
    def chat(self) -> bool:
        return self.continuation != "completions"

    def chunk(self, text: str | None, finish: str | None = None, **fields: Any) -> Json:
        """A chunk with this text."""
        if not self.chat:
            content: Json = {"text": text or ""}
        else:
            content = {"delta": {} if text is None else {"content": text}}
        choice = {"index": 0, **content, "finish_reason": finish} | self.choice
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {"id": "x-1", "object": kind, "created": 1, "model": "m", "choices": [choice]} | fields

    def whole(self, text: str, finish: str = "stop") -> Json:
        """An answer in one piece."""
        content: Json = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **content, "finish_reason": finish}
        return {"id": "x-1", "object": "x", "choices": [choice], "usage": self.counts(20, None, 9)}

    def events(
        self,
        parts: Sequence[str],
        *,
        finish: str = "stop",
        usage: Json | None = None,
        running: Sequence[Any] | None = None,
        ascii_only: bool = True,
    ) -> list[bytes]:
        """A stream of these texts, without its end mark.

        Args:
            parts: one a chunk.
            finish: the finish_reason of the last chunk.
            usage: the counts at the end.
            running: completion tokens told with each chunk.
            ascii_only: other characters are written as escapes.
        """
        chunks: list[Json] = []
        for place, part in enumerate(parts):
            told = {"usage": self.counts(20, None, running[place])} if running is not None else {}
            chunks.append(self.chunk(part, **told))
        end = self.chunk(None, finish)
        chunks.append(end | ({"usage": usage} if usage is not None and self.usage_at_end else {}))
        if usage is not None and not self.usage_at_end:
            chunks.append(end | {"choices": [], "usage": usage})
        return [*self.head, *(event(chunk, ascii_only=ascii_only) for chunk in chunks)]

    def stream(self, parts: Sequence[str], **options: Any) -> Reply:
        """The same, counted as this kind counts, with its end mark."""
        if self.running and "running" not in options:
            options["running"] = [place + 1 for place in range(len(parts))]
        usage = self.counts(20, None, len(parts) + 1)
        return Reply([*self.events(parts, **({"usage": usage} | options)), DONE])

    def failure(self, status: int, message: str, **headers: str) -> Reply:
        """An error response."""
        return said(status, self.failed(message), **headers)

    def failed(self, message: str) -> Any:
        """The body of an error."""
        return {
            "openai": {"error": {"message": message, "type": "x", "param": None, "code": None}},
            "object": {"object": "error", "message": message, "type": "x", "param": None, "code": 400},
            "text": {"error": message, "error_type": "x"},
            "anthropic": {"type": "error", "error": {"type": "x", "message": message}},
            "gemini": [{"error": {"code": 400, "message": message, "status": "x"}}],
        }[self.error]

    def too_long(self) -> Reply:
        """The response to a text that does not fit."""
        status, body = next((row[2], row[3]) for row in OVERFLOWS if row[0] == self.overflow)
        return said(status, body)


_AZURE_FILTER = said(
    400,
    {
        "error": {
            "message": "The response was filtered due to the prompt triggering our content management policy.",
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": {"code": "ResponsibleAIPolicyViolation"},
        }
    },
)
_ROLE = event({"id": "x-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})

KINDS = [
    Kind("vllm 0.32", "vllm", "completions", "vllm, new", running=True, choice={"stop_reason": None}),
    Kind("vllm 0.5", "vllm", "chat", "vllm, old", running=True, head=[_ROLE], error="object"),
    Kind("sglang", "sglang", "completions", "sglang, new", running=True, choice={"matched_stop": None}),
    Kind("llama-server", "llama-server", "chat", "llama-server", head=[_ROLE], repeats=None),
    Kind("llama-cpp-python", "llama-cpp-python", "completions", "llama-cpp-python"),
    Kind("transformers", "transformers", "completions", "vllm, old", error="text"),
    Kind(
        "mistral",
        "mistral",
        "chat",
        "mistral",
        head=[_ROLE],
        usage_at_end=True,
        error="object",
        repeats=True,
        quota=said(402, {"detail": "Payment required"}),
    ),
    Kind(
        "deepseek",
        "deepseek",
        "chat",
        "deepseek",
        counts=deepseek_counts,
        usage_at_end=True,
        head=[b": keep-alive\n\n"],
        quota=said(402, {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}),
    ),
    Kind(
        "openrouter",
        "openrouter",
        "chat",
        "openrouter",
        head=[b": OPENROUTER PROCESSING\n\n"],
        choice={"native_finish_reason": None},
        filtered=said(403, {"error": {"code": 403, "message": "m requires moderation on p. Your input was flagged"}}),
        quota=said(402, {"error": {"code": 402, "message": "Insufficient credits"}}),
        repeats=None,
    ),
    Kind("openai", "openai", "instruct", "openai", head=[_ROLE], choice={"logprobs": None}),
    Kind(
        "azure",
        "azure",
        "instruct",
        "azure",
        head=[event({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}), _ROLE],
        choice={"content_filter_results": {}},
        filtered=_AZURE_FILTER,
    ),
    Kind(
        "anthropic",
        "anthropic",
        "instruct",
        "anthropic",
        head=[b"event: ping\ndata: {}\n\n"],
        usage_at_end=True,
        error="anthropic",
        filtered=said(400, {"error": {"message": "Output blocked by content filtering policy"}}),
        quota=said(400, {"error": {"message": "Your credit balance is too low to access the Anthropic API."}}),
    ),
    Kind("gemini", "gemini", "instruct", "gemini", running=True, usage_at_end=True, error="gemini"),
    Kind("ollama", "ollama", "chat", "ollama, new", error="openai"),
    Kind("lm studio", "lm-studio", "completions", "lm studio", error="text"),
    Kind("tgi", "generic", "completions", "tgi", usage_at_end=True, error="text", head=[b":\n\n"]),
    Kind("generic", "generic", "completions", "litellm"),
]
