"""Clients that send headers, bodies or connections without end, and what is no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.chaos.attack import Attack, Target, status_of

_PART = b"x" * 2**16
_POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


class _Flood(Attack):
    """Sends a beginning, and then the same part until it is refused; again and again."""

    begins: Sequence[bytes]
    part: bytes = _PART
    right: frozenset[int] = frozenset(
        (0, 400, 401, 408, 413, 414, 431, 503)
    )  # a client that still sends may lose the answer

    async def run(self, target: Target) -> None:
        await asyncio.gather(*(self._send(target, begin) for begin in self.begins))

    async def _send(self, target: Target, begin: bytes) -> None:
        while True:
            answer, sent = b"", 0
            answering: asyncio.Task[bytes] | None = None
            try:
                async with asyncio.timeout(60), target.connected() as (reader, writer):
                    writer.write(begin)
                    answering = asyncio.create_task(reader.read(65_536))
                    while not answering.done() and sent < 10**9:
                        writer.write(self.part)
                        sent += len(self.part)
                        await writer.drain()
                        await asyncio.sleep(0)
                    answer = await answering
            except (ConnectionError, TimeoutError):
                pass
            finally:
                if answering is not None:
                    answering.cancel()
                    await asyncio.gather(answering, return_exceptions=True)
            status = status_of(answer)
            self.seen[str(status) if status else "reset"] += 1
            if status not in self.right:
                self.faults.append(f"{begin[-20:]!r} was answered with {status}")
            await asyncio.sleep(0.2)


class HeaderFloods(_Flood):
    name = "header floods"
    expects = "431 or reset"
    begins = (_POST + b"a: ", _POST, _POST + b"transfer-encoding: chunked\r\n\r\n0\r\na: ", b"POST /v1/")


class ManyHeaders(_Flood):
    name = "many headers"
    expects = "431 or reset"
    begins = (_POST, _POST + b"transfer-encoding: chunked\r\n\r\n0\r\n")
    part = b"a: b\r\n" * 200


class BodyFloods(_Flood):
    name = "body floods"
    expects = "413, 401 or reset"
    begins = (_POST + b"content-length: 99999999999\r\n\r\n", _POST + b"transfer-encoding: chunked\r\n\r\n10000\r\n")
    right = frozenset((0, 400, 401, 408, 413, 414, 431, 503))


class NoHttp(Attack):
    name = "no HTTP"
    expects = "400, and a log that stays small"

    async def run(self, target: Target) -> None:
        parts = (
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
            b"GET\r\n\r\n",
            b"\x00" * 100 + b"\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
        )
        while True:
            for part in parts:
                self.seen[str(status_of(await target.send(part)))] += 1
            await asyncio.sleep(0.02)


class Connections(Attack):
    """Opens connections as fast as they are taken, and holds them."""

    name = "connections"
    expects = "refused at once"

    async def run(self, target: Target) -> None:
        await asyncio.gather(*(self._open(target) for _ in range(1_000)))

    async def _open(self, target: Target) -> None:
        while True:
            try:
                async with asyncio.timeout(30), target.connected() as (reader, _):
                    self.seen["opened"] += 1
                    self.seen["refused"] += bool(await reader.read(1))
            except (ConnectionError, TimeoutError):
                self.seen["reset"] += 1
            await asyncio.sleep(0.5)


class DeepBodies(Attack):
    name = "malformed bodies"
    expects = "400"  # or 503, or a reset, where an attack beside it has all connections

    async def run(self, target: Target) -> None:
        bodies = (
            b'{"a":' * 150_000,
            b"[" * 900_000,
            b'{"messages": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
            b'{"model": "trim", "messages": [{"role": "user", "content": "\\ud800"}',
            b"\xff\xfe{}",
            b'{"model": NaN}',
            b"9" * 900_000,
        )
        head = _POST + f"authorization: Bearer {target.key}\r\nconnection: close\r\n".encode()
        while True:
            for body in bodies:
                answer = await target.send(head + f"content-length: {len(body)}\r\n\r\n".encode() + body)
                self.seen[str(status_of(answer))] += 1
                if status_of(answer) not in (0, 400, 503):
                    self.faults.append(f"{body[:20]!r} was answered with {status_of(answer)}")
            await asyncio.sleep(0.2)
