"""A models' server that refuses, falls silent, slows down, sends garbage or half an answer."""

from __future__ import annotations

import asyncio

from benchmarks.chaos.attack import Attack, Target
from benchmarks.chaos.upstream import Call

_HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n"


async def _refuse(call: Call) -> None:
    call.writer.transport.abort()


async def _silence(call: Call) -> None:
    await call.reader.read()  # until the gateway gives up


async def _slow_head(call: Call) -> None:
    for part in (_HEAD[:9], _HEAD[9:20], _HEAD[20:]):
        call.writer.write(part)
        await asyncio.sleep(0.4)


async def _garbage(call: Call) -> None:
    call.writer.write(_HEAD + b"data: {\x00]\n\n")


async def _half(call: Call) -> None:
    call.writer.write(_HEAD + b'data: {"id": "1", "choi')


async def _not_http(call: Call) -> None:
    call.writer.write(b"220 smtp.example.com ESMTP\r\n")


class BrokenAnswers(Attack):
    name = "broken answers"
    expects = "one clear error, or the fallback"
    spares_answers = False

    async def run(self, target: Target) -> None:
        ways = (_refuse, _silence, _slow_head, _garbage, _half, _not_http)
        with target.upstream.misbehaving(*ways):
            await asyncio.Event().wait()
