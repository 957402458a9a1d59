"""Servers that hang, each in another place, on loopback in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
Way = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def event(text: str) -> bytes:
    """An event with text, as of `/completions`."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    chunk = {"id": "1", "choices": [{"index": 0, "text": text, "finish_reason": None}], "usage": usage}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def half_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD[:30])
    await reader.read(-1)


async def slow_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nx-long: ")
    await _forever(writer, b"a")


async def only_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD)
    await reader.read(-1)


async def keeps_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD)
    await _forever(writer, b": keep-alive\n\n")


async def stops_in_an_event(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + event("One") + event(" two")[:-20])
    await reader.read(-1)


async def trickles_in_an_event(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + event("One") + b"data: ")
    await _forever(writer, b" ")


async def stops_between_events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + event("One"))
    await _forever(writer, b": keep-alive\n\n")


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


HANGING: tuple[Way, ...] = (
    says_nothing,
    half_a_head,
    slow_head,
    only_a_head,
    keeps_alive,
    stops_in_an_event,
    trickles_in_an_event,
    stops_between_events,
)


async def _forever(writer: asyncio.StreamWriter, piece: bytes) -> None:
    while not writer.is_closing():
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def hanging(way: Way) -> AsyncIterator[str]:
    """The address, as `host:port`, of a server that behaves in this way."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if way is not says_nothing:  # which may be asked to shake hands instead
                await reader.readuntil(b"\r\n\r\n")
            await way(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def unreachable() -> AsyncIterator[str]:
    """An address where connections are never made: its queue of new ones is full."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(listening.getsockname())
            waiting.append(one)
        try:
            await asyncio.sleep(0.05)
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            for one in waiting:
                one.close()
