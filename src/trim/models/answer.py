"""The chunks of one HTTP answer, whichever fields a server fills in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from trim.errors import BadResponse
from trim.models.assemble import Chunk
from trim.models.http import Server


class Answer:
    """The chunks of one HTTP answer."""

    def __init__(self, server: Server, response: Any, *, streamed: bool) -> None:
        self._server = server
        self._response = response
        self._chunks = aiter(response) if streamed else _once(response)

    async def next(self) -> Chunk | None:
        """The next chunk, or None at the end."""
        async with self._server.errors():
            try:
                return read_chunk(await anext(self._chunks))
            except StopAsyncIteration:
                return None
            except (AttributeError, TypeError, IndexError) as error:
                raise BadResponse(self._server.name, f"an answer of another shape: {error}") from None

    async def close(self) -> None:
        """Cancel the request upstream if it is still running."""
        if (close := getattr(self._response, "close", None)) is not None:
            await close()


async def _once(response: Any) -> AsyncIterator[Any]:
    yield response


def read_chunk(raw: Any) -> Chunk:
    """What a chunk (or a whole answer) of the SDK says, whichever fields the server filled in."""
    choice = raw.choices[0] if raw.choices else None
    usage = getattr(raw, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    chunk = Chunk(
        completion_tokens=getattr(usage, "completion_tokens", None),
        prompt_tokens=getattr(usage, "prompt_tokens", None),
        cached_tokens=getattr(details, "cached_tokens", None),
    )
    if choice is None:
        return chunk
    message = getattr(choice, "delta", None) or getattr(choice, "message", None)
    text = getattr(choice, "text", None) if message is None else getattr(message, "content", None)
    fields = choice.model_extra or {}
    told = [fields[name] for name in ("stop_reason", "matched_stop") if name in fields]
    stop = next((value for value in told if isinstance(value, str)), None)  # a number there is an end token's id
    text = (text or "").encode("utf-8", "replace").decode()  # half a character is no text that can be sent on
    return replace(
        chunk, text=text, finish=choice.finish_reason, stop=stop, told=bool(told), logprobs=_logprobs(choice)
    )


def _logprobs(choice: Any) -> tuple[float, ...] | None:
    found = getattr(choice, "logprobs", None)
    if found is None:
        return None
    values: Sequence[float | None] = getattr(found, "token_logprobs", None) or ()
    if content := getattr(found, "content", None):
        values = [entry.logprob for entry in content]
    return tuple(value for value in values if value is not None)
