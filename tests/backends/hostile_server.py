"""A server that sends what it was given, byte for byte, as often as its reader takes it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Answer = Callable[[str], Iterator[bytes]]
"""From the head of a request to the parts of the response; these may be endless."""

SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"


@dataclass
class Hostile:
    """The server: `heads` of the requests that it got, `sent` bytes, connections `open`."""

    url: str = ""
    heads: list[str] = field(default_factory=list)
    sent: int = 0
    open: int = 0


@asynccontextmanager
async def hostile(answer: Answer) -> AsyncIterator[Hostile]:
    """Serve on a free port. A part that is empty is a pause of 50 ms."""
    made = Hostile()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.open += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            made.heads.append(head)
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            for part in answer(head):
                if reader.at_eof():
                    break
                if not part:
                    await asyncio.sleep(0.05)
                writer.write(part)
                await writer.drain()
                made.sent += len(part)
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
        made.open -= 1

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        while made.open:
            await asyncio.sleep(0.01)
