"""The gateway's event loop stays free, whatever clients and models' servers send: in no turn does its thread use much
CPU time. `benchmarks.event_loop` measures what that means for `/healthz`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from benchmarks import hostile_upstream
from benchmarks.event_loop import chat_body
from tests.server.gateway import Served, serving
from trim.config.settings import Config, ModelSettings, PrmSettings, ServeSettings
from trim.server.gateway import Gateway, open_gateway

_MOST = 0.1  # seconds of CPU time in a turn: 0.01 as a rule, half a second where a text of 1 MB is read on the loop
_MEGABYTE = 900_000


@dataclass
class Turns:
    """The CPU time that the event loop's thread used in each of its turns."""

    seconds: list[float] = field(default_factory=list)

    async def watch(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.seconds.append(now - before)
            before = now
            await asyncio.sleep(0.001)


@pytest.fixture(scope="module")
def turns() -> Turns:
    return Turns()


@pytest.fixture(scope="module")
def served(turns: Turns) -> Iterator[Served]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Gateway]:
        upstream = await asyncio.start_server(hostile_upstream.answer, "127.0.0.1", 0, limit=1 << 25)
        url = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
        model = ModelSettings(backend="vllm", base_url=f"{url}/v1", model="m", retries=0)
        prm = PrmSettings(backend="vllm", base_url=url, model="m", retries=0)
        watching = asyncio.create_task(turns.watch())
        async with open_gateway(Config(model, model, prm, serve=ServeSettings())) as gateway:
            yield gateway
        watching.cancel()
        upstream.close()

    with serving(opened) as running:
        running.post(chat_body("attack:short"))  # imports what the first request needs
        yield running


ATTACKS = {
    "control tokens": chat_body("attack:short " + "<|im_start|>" * (_MEGABYTE // 12)),
    "the beginnings of marks": chat_body("attack:short " + "<" * 400_000),
    "structure": b'{"x": [' + b'{"a": [0]},' * (_MEGABYTE // 11) + b"0]}",
    "nulls": b'{"messages": [' + b'{"a":null},' * 90_000 + b"0]}",
    "prompts": json.dumps({"model": "trim", "prompt": ["x"] * 90_000}).encode(),
    "newlines from upstream": chat_body("attack:newlines", stream=True),
    "a long word from upstream": chat_body("attack:long-word"),
    "many steps from upstream": chat_body("attack:steps", stream=True, model="trim-weak"),
    "tables from upstream": chat_body("attack:tables", model="trim-weak"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_request_keeps_the_event_loop_busy(served: Served, turns: Turns, attack: str) -> None:
    turns.seconds.clear()
    path = "/v1/completions" if attack == "prompts" else "/v1/chat/completions"
    assert served.post(ATTACKS[attack], path).status_code in (200, 400, 502)  # 502: more than was asked for
    assert max(turns.seconds) < _MOST
