"""Whatever clients do with connections, they get one clear refusal in time, and others are served as before."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from trim.config.settings import ServeSettings
from trim.errors import ConfigError
from trim.server import connection_limits
from trim.server.connection_limits import LimitedConfig

HEAD = b"host: x\r\n"


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _echo(request: Request) -> Response:
    return Response(await request.body())


async def _refuse(request: Request) -> Response:
    return JSONResponse({}, 401)


async def _flood(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 2**16

    return StreamingResponse(parts())


ROUTES = [
    Route("/healthz", _health),
    Route("/echo", _echo, methods=["POST"]),
    Route("/refuse", _refuse, methods=["POST"]),
    Route("/flood", _flood),
]


@dataclass
class Served:
    port: int
    server: uvicorn.Server

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """A connection whose server has seen it."""
        made = socket.create_connection(("127.0.0.1", self.port), 10, (source, 0))
        time.sleep(0.005)
        return made

    def ask(self, request: bytes, source: str = "127.0.0.1") -> bytes:
        """All that comes back until the connection is closed; one that is reset ends there."""
        with self.connect(source) as connection:
            connection.sendall(request)
            return rest(connection)

    def status(self, path: bytes = b"/healthz", source: str = "127.0.0.1", version: bytes = b"1.1") -> int:
        head = b"GET " + path + b" HTTP/" + version + b"\r\nhost: x\r\nconnection: close\r\n\r\n"
        return status(self.ask(head, source))


def rest(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while data := connection.recv(65_536):
            answer += data
    except ConnectionError:
        pass
    return answer


def status(answer: bytes) -> int:
    return int(answer[9:12]) if answer else 0


def code(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"])


@contextmanager
def serving(**settings: object) -> Iterator[Served]:
    app = Starlette(routes=ROUTES)
    config = LimitedConfig(app, ServeSettings(**settings), port=0, log_level="critical")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    limit = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < limit
        time.sleep(0.005)
    try:
        yield Served(server.servers[0].sockets[0].getsockname()[1], server)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that a test can wait for."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "STUCK_SECONDS", "_SPARE_SECONDS"):
        monkeypatch.setattr(connection_limits, name, 0.2)
    monkeypatch.setattr(connection_limits, "_SWEEP_SECONDS", 0.05)


def test_a_connection_beyond_the_limit_gets_health_and_nothing_else() -> None:
    with serving(max_connections=4) as served, ExitStack() as open_:
        for _ in range(4):
            open_.enter_context(served.connect("127.0.0.2"))
        assert served.status() == 200
        assert served.status(version=b"1.0") == 200
        answer = served.ask(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        assert (status(answer), code(answer)) == (503, "too_many_connections")
        for _ in range(connection_limits._SPARE + 4):  # these have no end either
            open_.enter_context(served.connect("127.0.0.2"))
        assert status(served.ask(b"")) == 503
        open_.close()
        limit = time.monotonic() + 5
        while served.status(b"/missing") != 404:
            assert time.monotonic() < limit


def test_an_address_has_a_limit_unless_it_is_a_proxy() -> None:
    for settings, expected in (({}, 503), ({"trusted_proxies": ["127.0.0.2"]}, 404)):
        with serving(connections_per_address=3, **settings) as served, ExitStack() as open_:
            for _ in range(3):
                open_.enter_context(served.connect("127.0.0.2"))
            assert served.status(b"/missing", "127.0.0.2") == expected
            assert served.status(b"/healthz", "127.0.0.2") == 200
            assert served.status(b"/missing", "127.0.0.3") == 404


def test_zero_means_that_an_address_has_no_limit() -> None:
    with serving(connections_per_address=0) as served, ExitStack() as open_:
        for _ in range(5):
            open_.enter_context(served.connect())
        assert served.status(b"/missing") == 404


SLOW: list[tuple[str, bytes, Callable[[int], bytes]]] = [
    ("nothing", b"", lambda n: b""),
    ("empty lines", b"", lambda n: b"\r\n"),
    ("a line", b"GET /hea", lambda n: b"x"),
    ("a line of HTTP/1.0", b"GET / HTTP/1.0", lambda n: b" "),
    ("a header", b"GET /healthz HTTP/1.1\r\n", lambda n: b"a"),
    ("a header of HTTP/1.0", b"GET /healthz HTTP/1.0\r\n", lambda n: b"a"),
    ("headers", b"GET /healthz HTTP/1.1\r\n", lambda n: f"a{n}: b\r\n".encode()),
    ("between requests", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", lambda n: b"\r\n"),
    ("a body", b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n", lambda n: b"x"),
    ("a body of HTTP/1.0", b"POST /echo HTTP/1.0\r\ncontent-length: 999\r\n\r\n", lambda n: b"x"),
    ("a body that nobody reads", b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n", lambda n: b"x"),
    ("a trailer", b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\na", lambda n: b"x"),
]


@pytest.mark.usefixtures("quick")
def test_whoever_is_slow_is_left_in_time() -> None:
    async def drip(served: Served, begin: bytes, drop: Callable[[int], bytes]) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(begin)
        began, over = time.monotonic(), asyncio.create_task(reader.read(-1))
        for number in range(300):
            if over.done() or reader.at_eof():
                break
            writer.write(drop(number))
            await asyncio.sleep(0.02)
        await asyncio.gather(over, return_exceptions=True)
        writer.transport.abort()
        return time.monotonic() - began

    async def all_of_them(served: Served) -> list[float]:
        return await asyncio.gather(*(drip(served, begin, drop) for _, begin, drop in SLOW))

    with serving() as served:
        took = asyncio.run(all_of_them(served))
        assert served.status() == 200
        assert not served.server.server_state.connections
    assert {SLOW[number][0]: seconds for number, seconds in enumerate(took) if seconds > 3} == {}


@pytest.mark.usefixtures("quick")
def test_whoever_reads_nothing_is_left() -> None:
    with serving() as served, served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        limit = time.monotonic() + 10
        while not served.server.server_state.connections:
            assert time.monotonic() < limit
        while served.server.server_state.connections:
            assert time.monotonic() < limit, "it is still connected"
            time.sleep(0.02)


LARGE = [
    (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
    (b"GET /" + b"x" * 9_000_000, 414),
    (b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431),
    (b"GET /healthz HTTP/1.1\r\na: " + b"b" * 66_000 + b"\r\n\r\n", 431),
    (b"GET /healthz HTTP/1.1\r\na: " + b"b" * 9_000_000, 431),
    (b"GET /healthz HTTP/1.1\r\n" + b"b" * 9_000_000, 431),
    (b"GET /healthz HTTP/1.0\r\na: " + b"b" * 9_000_000, 400),
    (b"\x16\x03\x01 no HTTP\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 200, 431),
    (b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: " + b"b" * 9_000_000, 431),
    (b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"b" * 9_000_000, 431),
]


def test_what_is_too_large_is_refused() -> None:
    with serving() as served:
        for request, expected in LARGE:
            began = time.monotonic()
            with served.connect() as connection:
                with suppress(ConnectionError):
                    connection.sendall(request)
                answer = rest(connection)
            assert time.monotonic() - began < 5
            # A client that is still sending may lose the answer.
            assert status(answer) == expected or (not answer and len(request) > 1_000_000), (request[:60], answer)
            assert b"x" * 100 not in answer


def test_what_is_large_within_the_limits_is_served() -> None:
    headers = b"".join(b"a%d: %s\r\n" % (number, b"b" * 600) for number in range(97))
    body = b"".join(b"1\r\nx\r\n" for _ in range(100_000)) + b"0\r\n\r\n"
    head = b"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    with serving() as served:
        assert status(served.ask(head + b"content-length: 2\r\n" + headers + b"\r\nxx")) == 200
        answer = served.ask(head + b"transfer-encoding: chunked\r\n\r\n" + body)
        assert status(answer) == 200
        assert answer.endswith(b"x" * 100_000)
        assert served.ask(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 50 + head + b"\r\n").count(b'"ok"') == 50


def test_an_address_of_a_proxy_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"trusted_proxies: 'proxy\.example' is no address"):
        ServeSettings(trusted_proxies=("proxy.example",))
