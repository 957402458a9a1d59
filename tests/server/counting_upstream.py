"""A model server over loopback that counts what it generates: the other side of the gateway's usage store.

It speaks as much of vLLM's API as the gateway uses: completions as a stream with running counts, and pooling. A token
is counted when it is made, whether or not anybody reads it.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.money import dollars
from trim.types import Prices, Role, Usage

_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: {}\r\nconnection: close\r\n\r\n"


@dataclass
class Habits:
    """How fast it is; seconds. `length`: tokens of an answer, `step`: of a step."""

    token: float = 0.001
    score: float = 0.001
    length: int = 40
    step: int = 8


@dataclass
class CountingUpstream:
    """The server, and what its models have generated and read, by role."""

    habits: Habits = field(default_factory=Habits)
    used: dict[Role, Usage] = field(default_factory=lambda: {role: Usage() for role in Role})
    cut_off: dict[Role, int] = field(default_factory=lambda: dict.fromkeys(Role, 0))  # answers not read to their end
    url: str = ""
    chance: random.Random = field(default_factory=random.Random)

    def cost(self, prices: Prices) -> float:
        """What all of that costs."""
        return dollars(prices.of(self.used))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[CountingUpstream]:
        """Serve on a free port."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next((int(line[15:]) for line in head.lower().split("\r\n") if line[:15] == "content-length:"), 0)
            body = json.loads(await reader.readexactly(length)) if length else {}
            await self.answer(head, body, reader, writer)

    async def answer(
        self, head: str, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer a request."""
        path = head.partition("\r\n")[0]
        if path.startswith("GET"):
            await self._whole(writer, {"object": "list", "data": [{"id": "weak"}, {"id": "strong"}]})
        elif "pooling" in path:
            await self._score(writer, body)
        elif "completions" in path:
            await self._write(reader, writer, body)
        else:  # a tokenizer is not among what it serves
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()

    async def _whole(self, writer: asyncio.StreamWriter, body: Any) -> None:
        text = json.dumps(body)
        writer.write(_HEAD.format("application/json").encode() + text.encode())
        await writer.drain()

    async def _score(self, writer: asyncio.StreamWriter, body: Any) -> None:
        texts = body["input"]
        read = sum(len(text) // 4 + 1 for text in texts)
        self.used[Role.PRM].prompt_tokens += read
        await asyncio.sleep(self.habits.score)
        data = [{"index": at, "data": self._scores(text.count("<extra_0>"))} for at, text in enumerate(texts)]
        await self._whole(writer, {"data": data, "usage": {"prompt_tokens": read, "total_tokens": read}})

    def _scores(self, steps: int) -> list[list[float]]:
        return [[1 - score, score] for score in self.chance.choices((0.2, 0.9), k=steps)]

    async def _write(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: Any) -> None:
        habits, used = self.habits, self.used[Role(body["model"])]
        prompt = body.get("prompt") or json.dumps(body.get("messages"))  # a chat asks whether it is there
        read = len(prompt) // 4 + 1
        used.prompt_tokens += read
        left = asyncio.create_task(_left(reader))
        begun = prompt.rsplit("assistant\n", 1)[-1].count("w")
        most = max(1, min(body["max_tokens"], habits.length - begun))
        stop = (body.get("stop") or [""])[0]
        writer.write(_HEAD.format("text/event-stream").encode())
        over = False
        for number in range(1, most + 1):
            await asyncio.sleep(habits.token)
            if left.done() or writer.is_closing():
                self.cut_off[Role(body["model"])] += 1
                return
            used.completion_tokens += 1
            end_of_step = (begun + number) % habits.step == 0
            stopped = bool(stop) and end_of_step
            over = stopped or number == most
            length = number == body["max_tokens"] and begun + number < habits.length
            text = "w" if stopped else "w\n\n" if end_of_step else "w "
            finish = ("length" if length and not stopped else "stop") if over else None
            choice = {"index": 0, "text": text, "finish_reason": finish, "stop_reason": stop if stopped else None}
            usage = {"prompt_tokens": read, "completion_tokens": number, "total_tokens": read + number}
            writer.write(f"data: {json.dumps({'id': '1', 'choices': [choice], 'usage': usage})}\n\n".encode())
            if over:
                break
        writer.write(b"data: [DONE]\n\n")
        left.cancel()
        await writer.drain()


async def _left(reader: asyncio.StreamReader) -> None:
    """Returns when the client has left."""
    with suppress(ConnectionError):
        await reader.read()
