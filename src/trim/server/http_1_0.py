"""HTTP/1.0 clients: some proxies still are, unless configured otherwise.

A stream has no length, and chunks are HTTP/1.1's: to such a client it ends when the connection does. uvicorn's fast
protocol sends chunks nevertheless; its other one does not, and takes such connections over.
"""

from __future__ import annotations

from typing import ClassVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CAPABLE = "trim.unframed"  # in the state of a request whose connection can be streamed to without chunks
_LONGEST_LINE = 65_536


class VersionedProtocol(HttpToolsProtocol):
    """uvicorn's fast protocol, except for connections that begin with an HTTP/1.0 request."""

    old_protocol: ClassVar[type[H11Protocol]] = H11Protocol
    _begun: bytes | None = b""  # what came of the first line; None: it is known

    def data_received(self, data: bytes) -> None:
        """Look at the first line; then choose."""
        if self._begun is not None:
            data = self._begun + data
            line, ended, _ = data.partition(b"\n")
            if not ended and len(data) < _LONGEST_LINE:
                self._begun = data
                return
            self._begun = None
            if line.rstrip().endswith(b" HTTP/1.0"):
                self.hand_over(data)
                return
        super().data_received(data)

    def hand_over(self, data: bytes) -> None:
        """The other protocol has the connection from here on."""
        self.connections.discard(self)
        other = self.old_protocol(self.config, self.server_state, self.app_state | {_CAPABLE: True})
        other.connection_made(self.transport)
        self.transport.set_protocol(other)
        other.data_received(data)


class UnframedStreams:
    """Under a server that would send chunks to an HTTP/1.0 client, such a client gets a stream at once, at its end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["http_version"] != "1.0" or _CAPABLE in scope.get("state", {}):
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Collected(send).send)


class _Collected:
    """Sends a response of unknown length when it is complete."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not _has_length(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                length = (b"content-length", str(len(self._body)).encode())
                await self._send({**self._start, "headers": [*self._start["headers"], length]})
                await self._send({"type": "http.response.body", "body": bytes(self._body)})


def _has_length(start: Message) -> bool:
    return any(name.lower() == b"content-length" for name, _ in start["headers"])
