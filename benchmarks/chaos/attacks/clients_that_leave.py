"""Clients that send requests, streaming or not, and leave before the answer is whole."""

from __future__ import annotations

import asyncio
import random

from benchmarks.chaos.attack import Attack, Target
from trim.types import Role

_AT_ONCE = 4
_PROMPT = "q" * 80  # about as long as what is made of the question


class ClientsThatLeave(Attack):
    name = "clients that leave"
    expects = "their requests are cancelled and charged"

    async def run(self, target: Target) -> None:
        await asyncio.gather(*(self._leave(target, random.Random(number)) for number in range(_AT_ONCE)))

    async def _leave(self, target: Target, draw: random.Random) -> None:
        while True:
            async with target.connected() as (_, writer):
                writer.write(target.request(stream=draw.random() < 0.5))
                await asyncio.sleep(draw.uniform(0.0, 0.2))
            self.seen["left"] += 1
            await asyncio.sleep(0.2)
            for role in (Role.WEAK, Role.PRM):
                target.upstream.doubt_prompt(role, _PROMPT)
