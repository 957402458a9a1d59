"""What a client may hold of the server: connections, and the bytes, headers and time of a request.

uvicorn, which serves, has none of these limits, and no other server has all of them
(docs/decisions/0003-http-server.md). Each is enforced before the application is asked:

- Connections: so many at most, and so many from one address. One beyond that gets /healthz, and 503 for anything else;
  some more are closed at once. Addresses of trusted proxies have no limit of their own.
- A request's head comes within seconds, with bounds on its bytes, its headers and its first line; so do its body and
  what is around the body: the lines of chunks, trailers.
- A client that takes nothing of what was written for it is left.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections import Counter
from typing import Any, Final

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from trim.config.settings import ServeSettings
from trim.server.api_error import ApiError
from trim.server.http_1_0 import VersionedProtocol

HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 45.0
"""After the head. The application itself answers a body that takes longer than 30 s with 408."""
STUCK_SECONDS: Final = 20.0
"""In which a client must take something of what waits for it."""
MOST_HEADERS: Final = 100
HEADER_BYTES: Final = 65_536
LINE_BYTES: Final = 8_192
_AROUND = 8  # bytes around each byte of a body: it may be sent in chunks of one
_SPARE = 64  # connections beyond the limit that can ask for /healthz
_SPARE_SECONDS = 2.0
_SWEEP_SECONDS = 0.5


class LimitedConfig(uvicorn.Config):
    """uvicorn's configuration, with these limits. Worker processes get copies, each with connections of its own.

    Args:
        serve: the limits.
        options: of `uvicorn.Config`.
    """

    def __init__(self, app: Any, serve: ServeSettings, **options: Any) -> None:
        super().__init__(app, http=LimitedProtocol, ws="none", **options)
        self._serve = serve
        self._connections: Connections | None = None

    @property
    def connections(self) -> Connections:
        """The open connections of this process."""
        if self._connections is None:
            self._connections = Connections(self._serve)
        return self._connections


class Connections:
    """The open connections of a process; twice a second those whose time is over are closed."""

    def __init__(self, serve: ServeSettings) -> None:
        self._most = serve.max_connections
        self._most_each = serve.connections_per_address
        self._trusted = [ipaddress.ip_network(each) for each in serve.trusted_proxies]
        self._open: dict[_Counted, _Connection] = {}
        self._spare = 0
        self._by_address: Counter[str] = Counter()
        self._sweeping: asyncio.TimerHandle | None = None

    def add(self, protocol: _Counted) -> _Connection | None:
        """Take a connection; None: there are too many."""
        address = protocol.client[0] if protocol.client else ""
        each = self._by_address[address]
        over = len(self._open) - self._spare >= self._most
        over = over or (0 < self._most_each <= each and not self._is_trusted(address))
        if over and self._spare >= _SPARE:
            return None
        made = self._open[protocol] = _Connection(protocol, address, spare=over)
        self._spare += over
        self._by_address[address] += not over
        if self._sweeping is None:
            self._sweeping = protocol.loop.call_later(_SWEEP_SECONDS, self._sweep, protocol.loop)
        return made

    def remove(self, protocol: _Counted) -> None:
        """A connection is closed."""
        gone = self._open.pop(protocol, None)
        if gone is None:
            return
        self._spare -= gone.spare
        self._by_address[gone.address] -= not gone.spare
        if self._by_address[gone.address] <= 0:
            del self._by_address[gone.address]

    def _is_trusted(self, address: str) -> bool:
        if not self._trusted or not address:
            return not address  # a Unix socket: whoever listens there is in front
        found = ipaddress.ip_address(address)
        return any(found in network for network in self._trusted)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        for connection in [*self._open.values()]:
            connection.check(now)
        self._sweeping = loop.call_later(_SWEEP_SECONDS, self._sweep, loop) if self._open else None


class _Connection:
    """One connection.

    `awaits`: the part of a request that the client has to send, since `since`; empty: the server has the word.
    """

    def __init__(self, protocol: _Counted, address: str, *, spare: bool) -> None:
        self.address = address
        self.spare = spare
        self._protocol = protocol
        self._waiting = 0  # bytes that the client has not taken
        self._stuck = 0.0  # since then it has taken none
        self.expect("head")

    def expect(self, part: str) -> None:
        """The client is to send this part of a request."""
        self.awaits, self.since = part, time.monotonic()

    def check(self, now: float) -> None:
        """Close the connection if its time is over."""
        transport = self._protocol.transport
        waiting = transport.get_write_buffer_size()
        if not waiting or waiting != self._waiting:
            self._waiting, self._stuck = waiting, now
        if now - self._stuck > STUCK_SECONDS:
            transport.abort()
        elif not transport.is_closing():
            seconds = BODY_SECONDS if self.awaits == "body" else _SPARE_SECONDS if self.spare else HEAD_SECONDS
            if self.awaits == "body" and now - self.since > seconds:
                transport.abort()
            elif self.awaits and now - self.since > seconds:
                transport.write(_response(ApiError(408, "the request took too long", "request_timeout")))
                transport.close()


class _Counted(asyncio.Protocol):
    """A protocol of uvicorn's whose connections are counted and may be refused."""

    config: uvicorn.Config
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    client: tuple[str, int] | None
    app: Any
    timeout_keep_alive: int
    connection: _Connection | None = None  # None: it is refused, or another protocol's

    @property
    def _connections(self) -> Connections:
        assert isinstance(self.config, LimitedConfig)
        return self.config.connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connection = made = self._connections.add(self)
        if made is None:
            self.transport.write(_response(_TOO_MANY))
            self.transport.close()
        elif made.spare:
            self.app = _HealthOnly(self.app)
            self.timeout_keep_alive = 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        super().connection_lost(exc)


class _LimitedH11(_Counted, H11Protocol):
    """For HTTP/1.0: one request on a connection; the library itself bounds the bytes of its head."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.connection is not None and self.cycle is not None:
            part = "body" if self.cycle.more_body and not self.cycle.response_complete else ""
            if part != self.connection.awaits:
                self.connection.expect(part)


class LimitedProtocol(_Counted, VersionedProtocol):
    """uvicorn's protocol under these limits; its configuration is a `LimitedConfig`."""

    old_protocol = _LimitedH11
    _refusal: ApiError | None = None
    _read = 0  # bytes of this request, about
    _body = 0  # of its body
    _header_bytes = 0

    @property
    def _answering(self) -> bool:
        """Whether a request is being answered."""
        return bool(self.cycle) and not self.cycle.response_complete  # uvicorn has None where there is none yet

    def hand_over(self, data: bytes) -> None:
        """Another protocol has the connection from here on."""
        self._connections.remove(self)
        self.connection = None
        super().hand_over(data)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        self._read += len(data)
        super().data_received(data)
        if self.connection is None or self.transport.is_closing():
            return
        if self._read > HEADER_BYTES + (1 + _AROUND) * self._body:
            self._refusal = ApiError(431, f"the headers are longer than {HEADER_BYTES} bytes", "headers_too_large")
            self.send_400_response("")
        elif not self.connection.awaits and not self._answering:
            self.connection.expect("head")  # such as empty lines between requests

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._read = self._body = self._header_bytes = 0
        if self.connection is not None:
            self.connection.expect("head")

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > LINE_BYTES:
            self._refuse(414, f"the address is longer than {LINE_BYTES} bytes", "uri_too_long")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value)
        if len(self.headers) > MOST_HEADERS:
            self._refuse(431, f"there are more than {MOST_HEADERS} headers", "headers_too_large")
        if self._header_bytes > HEADER_BYTES:
            self._refuse(431, f"the headers are longer than {HEADER_BYTES} bytes", "headers_too_large")

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.connection is not None:
            self.connection.expect("body")

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.connection is not None:
            self.connection.awaits = ""

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, or one beyond a limit."""
        refusal = self._refusal or ApiError(400, "this is not a valid HTTP request", "invalid_http")
        if not self._answering or not self.cycle.response_started:
            self.transport.write(_response(refusal))
        self.transport.close()

    def _refuse(self, status: int, words: str, code: str) -> None:
        """Refuse the request that is being parsed.

        Raises:
            ValueError: always; the parser ends.
        """
        self._refusal = ApiError(status, words, code)
        raise ValueError(words)


_TOO_MANY = ApiError(
    503, "the gateway has too many connections; try again later", "too_many_connections", kind="server_error"
)
_REASONS = {400: "Bad Request", 408: "Request Timeout", 414: "URI Too Long", 431: "Request Header Fields Too Large"}


class _HealthOnly:
    """The application of a connection beyond the limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._app
        if scope["path"] != "/healthz":
            app = JSONResponse(_TOO_MANY.body(), _TOO_MANY.status, {"connection": "close", "retry-after": "1"})
        await app(scope, receive, send)


def _response(error: ApiError) -> bytes:
    """A whole response that closes its connection."""
    body = json.dumps(error.body()).encode()
    head = f"HTTP/1.1 {error.status} {_REASONS.get(error.status, 'Service Unavailable')}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body
