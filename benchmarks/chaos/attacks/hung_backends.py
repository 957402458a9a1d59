"""A model or the judge hangs for every request, silently or in the middle of an answer, and works again."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

from benchmarks.chaos.attack import ATTACKER, Attack, Target
from benchmarks.chaos.upstream import Call, Misbehaviour
from trim.types import Role

_HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n"
_HUNG = 4.0  # seconds: each request is given up after 1.5 s
_RECOVERED = 3.0  # seconds in which a server that works again is found to
_MODELS = {Role.WEAK: "trim-weak", Role.STRONG: "trim-strong", Role.PRM: "trim"}


async def _silence(call: Call) -> None:
    await call.reader.read()


async def _stall(call: Call) -> None:
    if "pooling" in call.head:
        await _silence(call)
        return
    read = len(call.body["prompt"]) // 4 + 1
    call.used.prompt_tokens += read
    call.used.completion_tokens += 1
    usage = {"prompt_tokens": read, "completion_tokens": 1, "total_tokens": read + 1}
    event = {"id": "1", "choices": [{"index": 0, "text": "w ", "finish_reason": None}], "usage": usage}
    call.writer.write(_HEAD + f"data: {json.dumps(event)}\n\n".encode())
    while not call.writer.is_closing():
        call.writer.write(b": keep-alive\n\n")
        await call.writer.drain()
        await asyncio.sleep(0.1)


class HungBackends(Attack):
    name = "hung backends"
    expects = "the circuit opens; back within seconds"
    spares_answers = False

    async def run(self, target: Target) -> None:
        ways: tuple[Misbehaviour, ...] = (_silence, _stall)
        for role, way in itertools.cycle(itertools.product(_MODELS, ways)):
            with target.upstream.hanging(role, way):
                asking = [asyncio.create_task(target.ask(model=_MODELS[role])) for _ in range(8)]
                await asyncio.sleep(_HUNG)
                if await self._problem(target, role) is not None:
                    self.seen["found out"] += 1
            try:
                await self._recovers(target, role)
            finally:
                for task in asking:
                    task.cancel()
                await asyncio.gather(*asking, return_exceptions=True)

    async def _recovers(self, target: Target, role: Role) -> None:
        began = time.monotonic()
        while problem := await self._problem(target, role):
            if time.monotonic() - began > _RECOVERED and not target.upstream.misbehaviours:
                self.faults.append(f"{role} works again, but after {_RECOVERED:g} s: {problem}")
                return
            await asyncio.sleep(0.1)
        self.seen["back"] += 1

    async def _problem(self, target: Target, role: Role) -> str | None:
        """What /readyz says of a role."""
        request = f"GET /readyz HTTP/1.1\r\nhost: {target.host}:{target.port}\r\nconnection: close\r\n\r\n"
        _, _, body = (await target.send(request.encode(), ATTACKER)).partition(b"\r\n\r\n")
        try:
            found = str(json.loads(body)["backends"][role.value])
        except (ValueError, KeyError):
            return f"/readyz answered {body[:80]!r}"
        return None if found == "ok" else found
