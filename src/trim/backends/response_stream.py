"""The chunks of one HTTP answer, whichever fields a server fills in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from trim.backends.client import Server
from trim.backends.step_assembly import Chunk
from trim.backends.token_counts import read_counts
from trim.errors import BadResponse


class Answer:
    """The chunks of one HTTP answer.

    Args:
        server: sent it.
        chunks: its JSON objects; one that is not streamed is a single chunk, see `whole`.
        close: cancels the request.
    """

    def __init__(
        self, server: Server, chunks: AsyncIterator[object], close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._server = server
        self._chunks = chunks
        self._close = close

    async def next(self) -> Chunk | None:
        """The next chunk, or None at the end."""
        async with self._server.errors():
            try:
                return read_chunk(await anext(self._chunks))
            except StopAsyncIteration:
                return None
            except (AttributeError, TypeError, LookupError) as error:
                raise BadResponse(self._server.name, f"an answer of another shape: {error!r}") from None

    async def close(self) -> None:
        """Cancel the request upstream if it is still running."""
        if self._close is not None:
            await self._close()


async def whole(response: object) -> AsyncIterator[object]:
    """An answer that is not streamed, as its only chunk."""
    yield response


def read_chunk(raw: Any) -> Chunk:
    """What a chunk (or a whole answer) says, whichever fields the server filled in."""
    choices, chunk = raw["choices"], Chunk(counts=read_counts(raw))
    if not choices:
        return chunk
    choice = choices[0]
    message = choice.get("delta") or choice.get("message")
    text = choice.get("text") if message is None else message.get("content")
    told = [choice[name] for name in ("stop_reason", "matched_stop") if name in choice]
    stop = next((value for value in told if isinstance(value, str)), None)  # a number there is an end token's id
    text = (text or "").encode("utf-8", "replace").decode()  # half a character cannot be sent on
    return replace(
        chunk, text=text, finish=choice.get("finish_reason"), stop=stop, told=bool(told), logprobs=_logprobs(choice)
    )


def _logprobs(choice: dict[str, Any]) -> tuple[float, ...] | None:
    found = choice.get("logprobs")
    if found is None:
        return None
    values: Sequence[float | None] = found.get("token_logprobs") or ()
    if content := found.get("content"):
        values = [entry["logprob"] for entry in content]
    return tuple(value for value in values if value is not None)
