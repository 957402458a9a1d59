"""A server that writes and scores whatever an attack asks for: the question begins with `attack:KIND`.

Raw sockets and prepared bytes, so that it costs next to nothing beside the gateway that it is behind.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import suppress

MARK = "<extra_0>"
_KIND = re.compile(rb"attack:([a-z0-9-]+)")
_MEGABYTE = 1_000_000
ANSWERS = {
    "short": ("Add 1 and 2.\n\n", "So the sum is 3.\n\n", "#### 3"),
    "newlines": ("Add.\n\n", "\n" * 20_000, "#### 3"),
    "newlines-one-by-one": ("Add.\n\n", *["\n"] * 20_000, "#### 3"),
    "long-step": ("a " * (_MEGABYTE // 2),),
    "long-word": ("a" * _MEGABYTE,),
    "tiny-chunks": ("word " * 2,) * 100_000,
    "dots": ("a. " * 100_000,),
    "backticks": ("`a ``b " * 50_000,),
    "boxes": ("\\boxed{" * 50_000,),
    "marks": ("#### " * 100_000,),
    "reasoning": ("<think>" * 50_000 + "</think>" * 50_000,),
    "displays": ("\\[ \\begin{a} $$ " * 30_000,),
    "tables": ("| a | b |\n|---|---|\n" * 20_000,),
    "headings": ("# a\n" * 50_000,),
    "quotes": ("> " * 200_000 + "\n\n",),
    "steps": ("One more step.\n\n" * 20_000,),
}
"""The pieces of an answer, one event each, by the kind of attack."""


def _events(kind: str, *, chat: bool) -> Iterator[bytes]:
    for text in ANSWERS.get(kind, ANSWERS["short"]):
        yield _event({"delta": {"content": text}} if chat else {"text": text}, None)
    yield _event({"delta": {}} if chat else {"text": ""}, "stop")
    yield b"data: [DONE]\n\n"


def _event(part: dict[str, object], finish: str | None) -> bytes:
    return f"data: {json.dumps({'choices': [{'index': 0, 'finish_reason': finish} | part]})}\n\n".encode()


def _scores(body: bytes) -> bytes:
    texts = json.loads(body)["input"]
    data = [{"index": i, "data": [[0.1, 0.9]] * text.count(MARK)} for i, text in enumerate(texts)]
    return json.dumps({"data": data, "usage": {"prompt_tokens": 10 * len(texts)}}).encode()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of a connection."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            path = head.split(b" ", 2)[1]
            if path.endswith(b"completions"):
                await _stream(writer, body, chat=b"chat/" in path)
            else:
                found = _scores(body) if path.endswith(b"/pooling") else b'{"data": [{"id": "m"}]}'
                kind = b"content-type: application/json\r\ncontent-length: %d" % len(found)
                writer.write(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n\r\n" + found)
                await writer.drain()
    writer.close()


async def _stream(writer: asyncio.StreamWriter, body: bytes, *, chat: bool) -> None:
    found = _KIND.search(body)
    kind = found[1].decode() if found else "short"
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for event in _events(kind, chat=chat):
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def serve(port: int) -> None:
    """The server's process."""

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", port, limit=1 << 25)
        await server.serve_forever()

    asyncio.run(run())
