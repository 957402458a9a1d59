"""The HTTP client under the openai SDK, with bounds on what a server may send: an answer is input like any other.

- The head of a response comes within the time for connecting and reading, also if it trickles. The HTTP library refuses
  one of more than 100 kB.
- Redirects are followed within the origin that was asked, 3 at most: a key, a header or a prompt never reaches another.
- A body ends after so many bytes, as sent and decompressed; of an error's only the beginning is read.

What goes beyond is a `BadResponse` that names the server and the bound. Imported when the first client is made, as it
loads the SDK.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from openai import DefaultAsyncHttpxClient

from trim.errors import BadResponse

if TYPE_CHECKING:
    import httpx2 as http
else:
    _LIBRARY = DefaultAsyncHttpxClient.__base__.__module__.partition(".")[0]
    http = import_module(_LIBRARY)  # httpx or httpx2, as the SDK's version has it

MOST_REDIRECTS: Final = 3
WHOLE: Final = 32 * 2**20
"""Bytes of an answer in one piece at most; the log-probabilities of a long prompt have some."""
STREAM: Final = 128 * 2**20
"""Bytes of a stream of events at most: 100,000 tokens with a kilobyte around each."""
_ERROR = 2**20  # bytes of an error's body that are read
_PIECE = 2**16  # bytes that are decompressed at once
_GZIP = ("gzip", "x-gzip")


class BoundedClient(DefaultAsyncHttpxClient):
    """The SDK's own HTTP client with these bounds.

    Args:
        server: how errors call it.
    """

    def __init__(self, server: str, **options: Any) -> None:
        super().__init__(headers={"accept-encoding": "gzip"}, **options)
        self._name = server

    async def send(self, request: http.Request, *, stream: bool = False, **options: Any) -> http.Response:
        """Send a request; the response's body is bounded.

        Raises:
            BadResponse: the server redirects elsewhere or too often, or its answer has no bounds.
        """
        origin = _origin(request.url)
        options["follow_redirects"] = False
        for _ in range(1 + MOST_REDIRECTS):
            response = await self._head(request, options)
            if response.next_request is None:
                break
            await response.aclose()
            request = response.next_request
            if _origin(request.url) != origin:
                raise self._broken(f"redirects to {_public(request.url)}", "if that is the server, set base_url to it")
        else:
            raise self._broken(f"redirects more than {MOST_REDIRECTS} times", "is base_url right?")
        self._bound(response)
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response

    async def _head(self, request: http.Request, options: dict[str, Any]) -> http.Response:
        """A response whose body is not read yet."""
        timeout = request.extensions.get("timeout", {})
        seconds = [timeout.get(name) for name in ("connect", "read")]
        try:
            async with asyncio.timeout(None if None in seconds else sum(filter(None, seconds))):
                return await super().send(request, stream=True, **options)
        except TimeoutError:
            raise http.ReadTimeout("the head of the answer did not end", request=request) from None
        except http.RemoteProtocolError as error:
            if "too long" in str(error):
                raise self._broken("sends headers of more than 100 kB") from None
            raise

    def _bound(self, response: http.Response) -> None:
        """Bound what is read of the body, and decompress it within that."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity":
            del response.headers["content-encoding"]
        if encoding not in ("", "identity", *_GZIP):
            raise self._broken(f"sends Content-Encoding {encoding[:40]!r}, which was not asked for")
        events = response.headers.get("content-type", "").startswith("text/event-stream")
        failed = response.status_code >= 400
        most = _ERROR if failed else STREAM if events else WHOLE
        error = None if failed else self._broken(f"sends more than {most >> 20} MiB in one answer")
        assert isinstance(response.stream, http.AsyncByteStream)
        response.stream = _Bounded(response.stream, most, error, encoding in _GZIP, self._name)

    def _broken(self, words: str, hint: str = "") -> BadResponse:
        return BadResponse(self._name, words, hint)


class _Bounded(http.AsyncByteStream):
    """A body without its compression, up to so many bytes; then the error, or without one the end."""

    def __init__(
        self, body: http.AsyncByteStream, most: int, error: BadResponse | None, gzip: bool, server: str
    ) -> None:
        self._body = body
        self._left = most
        self._error = error
        self._inflating = zlib.decompressobj(16 + zlib.MAX_WBITS) if gzip else None
        self._server = server

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for sent in self._body:
            for piece in (sent,) if self._inflating is None else self._inflated(self._inflating, sent):
                self._left -= len(piece)
                if self._left >= 0:
                    yield piece
                elif self._error is None:
                    return
                else:
                    raise self._error
        if self._inflating is not None:
            yield self._inflating.flush()

    def _inflated(self, inflating: zlib._Decompress, waiting: bytes) -> Iterator[bytes]:
        """The bytes of a compressed part, a piece at a time."""
        try:
            while waiting and not inflating.eof:
                yield inflating.decompress(waiting, _PIECE)
                waiting = inflating.unconsumed_tail
        except zlib.error:
            raise BadResponse(self._server, "sends compressed data that cannot be read") from None

    async def aclose(self) -> None:
        await self._body.aclose()


def _origin(url: http.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _public(url: http.URL) -> str:
    """An address without user, password and query."""
    parts = urlsplit(str(url))
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path[:100], "", ""))
