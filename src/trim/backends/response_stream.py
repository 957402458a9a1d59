"""The chunks of one HTTP answer, whichever fields a server fills in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from trim.backends.client import Server
from trim.backends.event_stream import EventStream
from trim.backends.step_assembly import Chunk
from trim.backends.token_counts import read_counts
from trim.backends.token_logprobs import read_logprobs
from trim.errors import BadResponse
from trim.types import Field

# What servers call the ends that OpenAI calls "length" and "content_filter".
_FINISH = {
    **dict.fromkeys(("max_tokens", "model_length", "max_length", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(
        ("content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii", "guardrail_intervened"),
        "content_filter",
    ),
}
_GIVEN_UP = ("error", "abort", "insufficient_system_resource", "cancelled", "timeout")  # the server failed


class Answer:
    """The chunks of one HTTP answer.

    Args:
        server: sent it.
        chunks: its JSON objects; one that is not streamed is a single chunk, see `whole`.
    """

    def __init__(self, server: Server, chunks: EventStream | AsyncIterator[dict[str, Any]]) -> None:
        self._server = server
        self._chunks = chunks

    async def next(self) -> Chunk | None:
        """The next chunk, or None at the end."""
        try:
            return read_chunk(await anext(self._chunks))
        except StopAsyncIteration:
            return None
        except BadResponse as error:
            raise await self._server.explained(error) from None
        except (AttributeError, TypeError, LookupError) as error:
            raise BadResponse(self._server.name, f"an answer of another shape: {error!r}") from None

    async def close(self) -> None:
        """Cancel the request upstream if it is still running."""
        if isinstance(self._chunks, EventStream):
            await self._chunks.close()


async def whole(response: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """An answer that is not streamed, as its only chunk."""
    if not response.get("choices"):
        raise LookupError("no choices")
    yield response


def read_chunk(raw: dict[str, Any]) -> Chunk:
    """What a chunk (or a whole answer) says, whichever fields the server filled in."""
    choices, chunk = raw.get("choices"), Chunk(counts=read_counts(raw))
    if not choices:
        return chunk
    choice = choices[0]
    message = choice.get("delta") or choice.get("message") or {}
    text = message.get("content")
    named = message.get("reasoning") and not message.get("reasoning_content")
    reasoning_field: Field = "reasoning" if named else "reasoning_content"
    reasoning = message.get(reasoning_field)
    told = [choice[name] for name in ("stop_reason", "matched_stop") if name in choice]
    told += [word for word in [(raw.get("__verbose") or {}).get("stopping_word")] if word is not None]
    stop = next((value for value in told if isinstance(value, str)), None)  # a number there is an end token's id
    return replace(
        chunk,
        text=choice.get("text") or "" if text is None else _text(text),
        refusal=message.get("refusal") or "",
        reasoning=reasoning if isinstance(reasoning, str) else "",
        reasoning_field=reasoning_field,
        finish=finish_reason(choice.get("finish_reason")),
        stop=stop,
        told=bool(told),
        logprobs=read_logprobs(choice),
    )


def finish_reason(told: object) -> str | None:
    """Why an answer ended: stop, length, content_filter, or the server's own word for having failed. A word that is not
    known ends an answer as "stop" does: its text is there. None: it has not ended.
    """
    if not isinstance(told, str) or not told:
        return None
    word = told.lower().partition(":")[0]  # Gemini adds a reason
    if word in ("stop", "length", "content_filter", *_GIVEN_UP):
        return word
    return _FINISH.get(word, "stop")


def _text(content: object) -> str:
    """The text of a message: as it is, or in parts."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") in (None, "text", "output_text"))
    return str(content)
