"""The JSON objects of an answer that was asked for as a stream, whatever the server made of that request.

A server may answer with events, with one JSON object or with a web page; an error may come as any of them, under a
status of 200. Every text is whole: see `trim.backends.surrogates`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from trim.backends.response_json import parsed
from trim.backends.server_errors import Reply, backend_error, describe, html_words, is_html, shortened, told_error
from trim.backends.silence import Request
from trim.backends.sse import Event, EventDecoder, EventTooLong
from trim.backends.surrogates import SurrogateJoiner, whole_texts
from trim.errors import BackendError, BadResponse

_KEEP_ALIVES = ("ping", "keepalive", "keep-alive", "heartbeat")
_FIELDS = ("data", "event", "id", "retry", ":")
_AFTERWARDS = 5.0  # seconds for the token counts, once the answer has ended
_END: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
_BLANK = 2**16  # bytes of white space before an answer
_QUIET = 8 * 2**20  # bytes without content in a row: comments, empty deltas
_DRAINED = 0.1  # seconds for the end of the response, so that the connection can be used again


@dataclass(frozen=True)
class Source:
    """Where an answer comes from.

    Args:
        server: how errors call it.
        request: method and address, for errors.
        opened: the request, which says how long the server may be silent.
        key: kept out of errors.
        translate: makes an error of `trim.errors` of what the HTTP library raises.
    """

    server: str
    request: str
    opened: Request
    key: str
    translate: Callable[[Exception], BackendError | None]


class EventStream:
    """The JSON objects of one answer. Only a `BackendError` is raised while it is read.

    An answer that the server calls complete, with `[DONE]` or by sending it in one piece, ends with a finish_reason,
    even if the server gave none.

    Args:
        source: of the answer.
        chunks: the bytes of the body.
        close: cancels the request.
    """

    def __init__(self, source: Source, chunks: AsyncIterator[bytes], close: Callable[[], Awaitable[None]]) -> None:
        self._source = source
        self._chunks = chunks
        self._cancel = close
        self._ended = False  # the answer has a finish_reason
        self._left = 0.0  # seconds that may be waited for content
        self._quiet = 0  # bytes since the last content
        self._before: dict[str, Any] = {}  # the last event without text in it
        self._objects = self._read()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return await anext(self._objects)

    async def close(self) -> None:
        """Cancel the request upstream if it is still running."""
        self._source.opened.end()
        await self._cancel()

    async def _read(self) -> AsyncGenerator[dict[str, Any], None]:
        self._left = self._source.opened.left
        head = await self._head()
        if head[:1] in (b"{", b"[", b"<"):
            whole = await self._whole(head)
            self._note(whole)
            yield whole_texts(whole)
            if not self._ended:
                yield _END
            return
        decoder, joiner, chunk = EventDecoder(), SurrogateJoiner(), head
        some = complete = False  # whether there were events, and whether the server has said that none follows
        while True:
            for event in self._events(decoder, chunk):
                if event.data.startswith("[DONE]"):
                    complete = True
                    break
                if (value := self._object(event)) is not None:
                    some = True
                    yield joiner.feed(value)
            if complete or not chunk:
                break
            chunk = await self._next()
        for value in joiner.rest():
            yield value
        if not some and head and not head.decode("utf-8", "replace").startswith(_FIELDS):
            text = shortened(head[:2_000].decode("utf-8", "replace"))[:80]
            raise self._bad(f"something that is neither events nor JSON: {text!r}")
        if complete and some and not self._ended:
            yield _END
        if complete:
            await self._drain()

    def _events(self, decoder: EventDecoder, chunk: bytes) -> Iterator[Event]:
        """The events of a chunk, or of the end."""
        try:
            yield from decoder.feed(chunk) if chunk else decoder.end()
        except EventTooLong as error:
            raise self._bad(str(error)) from None

    async def _head(self) -> bytes:
        """The first bytes, up to one that is no white space."""
        head = b""
        while not (begun := head.removeprefix(b"\xef\xbb\xbf").lstrip()):
            if len(head) > _BLANK:
                raise self._bad(f"more than {_BLANK >> 10} KiB of white space")
            chunk = await self._next()
            if not chunk:
                break
            head += chunk
        return begun

    async def _whole(self, head: bytes) -> dict[str, Any]:
        """The one JSON object that the body is.

        Raises:
            BackendError: it is something else, or says what went wrong.
        """
        body = bytearray(head)
        while chunk := await self._next():
            body += chunk
            self._quiet = 0  # how long it may be is bounded in `trim.backends.bounded_client`
        text = body.decode("utf-8", "replace")
        if is_html(text):
            raise self._bad(html_words(text))
        try:
            value = parsed(text)
        except ValueError as error:
            why = str(error) if "nested" in str(error) else repr(shortened(text[:2_000])[:80])
            raise self._bad(f"JSON that cannot be read: {why}") from None
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict):
            raise self._bad("something else than a JSON object")
        self._refuse(value)
        if not value.get("choices"):
            raise self._bad(f"JSON without choices: {shortened(describe(value) or text[:2_000])[:80]!r}")
        return value

    def _object(self, event: Event) -> dict[str, Any] | None:
        """The JSON object of an event; None: it keeps the connection alive."""
        if not event.data.strip() or event.kind in _KEEP_ALIVES:
            return None
        try:
            value: object = parsed(event.data)
        except ValueError:
            value = event.data
        if event.kind == "error":
            error = value if isinstance(value, dict) else {}
            reply = told_error(error) or Reply(200, describe(value) or "an error without a message", event.data)
            raise self._told(reply)
        if not isinstance(value, dict):
            raise self._bad(f"an event that is no JSON object: {shortened(event.data[:2_000])[:80]!r}")
        self._refuse(value)
        self._note(value)
        return value

    def _refuse(self, value: Mapping[str, Any]) -> None:
        if (reply := told_error(value)) is not None:
            raise self._told(reply)

    def _told(self, reply: Reply) -> BackendError:
        """What the server itself calls an error: asking once more is not ours to decide."""
        error = backend_error(self._source.server, reply, self._source.key)
        error.retryable = False
        return error

    def _bad(self, what: str) -> BadResponse:
        return BadResponse(self._source.server, f"{self._source.request} answered with {what}", "is base_url right?")

    def _note(self, value: dict[str, Any]) -> None:
        """Wait for longer again, unless the event says nothing new."""
        said, ended = _content(value)
        self._ended = self._ended or ended
        new = {name: entry for name, entry in value.items() if name not in ("id", "created")}
        if said or new != self._before:
            limit = self._source.opened.heard(text=said)
            self._left = min(limit, _AFTERWARDS) if self._ended else limit
        self._before = {} if said else new
        self._quiet = 0 if said else self._quiet

    async def _next(self) -> bytes:
        """The next bytes; none at the end of the body. Once the answer has ended, so may the connection. Only while it
        is waited for can a server be silent.
        """
        began = asyncio.get_running_loop().time()
        self._source.opened.resume()
        try:
            async with asyncio.timeout(self._left):
                while not (chunk := await anext(self._chunks, None)) and chunk is not None:
                    pass
        except TimeoutError:
            if self._ended:
                return b""
            silent = self._source.opened.silent(self._source.server)
            self._source.opened.failed(silent)
            raise silent from None
        except Exception as error:
            translated = self._source.translate(error)
            if translated is None:
                raise
            if self._ended:
                return b""
            raise translated from None  # the HTTP library's exceptions hold the request with its headers
        finally:
            self._left = max(0.0, self._left - (asyncio.get_running_loop().time() - began))
            self._source.opened.end()
        self._quiet += len(chunk or b"")
        if self._quiet > _QUIET:
            raise self._bad(f"{_QUIET >> 20} MiB without content")
        return chunk or b""

    async def _drain(self) -> None:
        with suppress(Exception):
            async with asyncio.timeout(_DRAINED):
                async for _ in self._chunks:
                    pass


def _content(value: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a choice has text or anything like it in this chunk, and whether it ends."""
    said = ended = False
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            delta = choice.get("delta") or choice.get("message")
            parts = delta if isinstance(delta, dict) else {"text": choice.get("text")}
            said = said or any(part for name, part in parts.items() if name != "role")
            ended = ended or bool(choice.get("finish_reason"))
    return said, ended
