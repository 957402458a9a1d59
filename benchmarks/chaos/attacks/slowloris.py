"""1,200 connections that send a request's head a byte at a time."""

from __future__ import annotations

import asyncio

from benchmarks.chaos.attack import ATTACKER, Attack, Target

_SOCKETS = 1_200


class Slowloris(Attack):
    name = "slowloris"
    expects = "refused beyond 512, closed after 10 s"

    async def run(self, target: Target) -> None:
        await asyncio.gather(*(self._hold(target, number) for number in range(_SOCKETS)))

    async def _hold(self, target: Target, number: int) -> None:
        await asyncio.sleep(number / 2_000)
        while True:
            try:
                async with target.connected(ATTACKER) as (reader, writer):
                    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\na")
                    while not reader.at_eof():
                        writer.write(b"b")
                        await asyncio.sleep(1.0)
                        await writer.drain()
                        if reader.at_eof() or writer.is_closing():
                            break
                self.seen["closed"] += 1
            except ConnectionError:
                self.seen["reset"] += 1
            await asyncio.sleep(1.0)
