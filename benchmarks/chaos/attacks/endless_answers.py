"""A models' server whose answers have no end, or lead elsewhere."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress
from itertools import chain, repeat

from benchmarks.chaos.attack import Attack, Target
from benchmarks.chaos.upstream import Call, Misbehaviour

_OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\n"
_EVENTS, _JSON = b"content-type: text/event-stream\r\n", b"content-type: application/json\r\n"
_PART = b"x" * 2**14
_EMPTY = b'data: {"choices": [{"index": 0, "text": ""}]}\n\n' * 100
_BOMB = gzip.compress(b" " * 2**26)


def _sends(*parts: bytes, then: bytes = b"") -> Misbehaviour:
    """Sends these, then the same part until nobody takes it."""

    async def answer(call: Call) -> None:
        with suppress(ConnectionError):
            for part in chain(parts, repeat(then) if then else ()):
                call.writer.write(part)
                await call.writer.drain()
                await asyncio.sleep(0.001)

    return answer


class EndlessAnswers(Attack):
    name = "endless answers"
    expects = "one clear error, or the fallback"
    spares_answers = False

    async def run(self, target: Target) -> None:
        ways = (
            _sends(_OK + _EVENTS + b"\r\n", then=_PART),
            _sends(_OK + _EVENTS + b"\r\ndata: ", then=_PART),
            _sends(_OK + _EVENTS + b"\r\n", then=_EMPTY),
            _sends(_OK + _JSON + b'\r\n{"a": "', then=_PART),
            _sends(_OK, then=b"a: b\r\n" * 500),
            _sends(_OK + _JSON + b"content-encoding: gzip\r\n\r\n", _BOMB),
            _sends(_OK + _JSON + b'\r\n{"choices":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
        )
        with target.upstream.misbehaving(*ways):
            await asyncio.Event().wait()


class RedirectLoops(Attack):
    name = "redirects"
    expects = "one clear error; no request elsewhere"
    spares_answers = False

    async def run(self, target: Target) -> None:
        async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.read(1):
                self.faults.append("a request was sent to another origin")
            writer.close()

        other = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
        away = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}/v1/completions"
        ways = [
            _sends(f"HTTP/1.1 307 On\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            for to in ("/v1/completions", away)
        ]
        try:
            with target.upstream.misbehaving(*ways):
                await asyncio.Event().wait()
        finally:
            other.close()
