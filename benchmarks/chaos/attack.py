"""What an attack is. To add one: a file in `benchmarks/chaos/attacks/` with a subclass of `Attack`; it is found there.

class Flood(Attack):
    name = "flood"
    expects = "429, and health as before"

    async def run(self, target: Target) -> None:
        while True:
            status = await target.ask(ATTACKER, model="trim")
            self.seen[str(status)] += 1
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.chaos.upstream import Upstream

CLIENT, ATTACKER = "127.0.0.1", "127.0.0.2"
"""Addresses that connections come from: of the client that behaves well, and of attackers."""


@dataclass(frozen=True)
class Target:
    """The gateway that is attacked.

    Args:
        host, port: where it listens.
        key: an API key that it takes.
        folder: with its configuration, `state.db`, `log` and traces.
        pid: of its process.
        upstream: the server of its three models, which an attack can have misbehave.
    """

    host: str
    port: int
    key: str
    folder: Path
    pid: int
    upstream: Upstream

    @asynccontextmanager
    async def connected(
        self, source: str = ATTACKER
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A TCP connection from this address, aborted at the end."""
        reader, writer = await asyncio.open_connection(self.host, self.port, local_addr=(source, 0))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def request(self, path: str = "/v1/chat/completions", **fields: object) -> bytes:
        """A whole request of the API, on a connection that closes: the fields are those of its body."""
        body = json.dumps({"model": "trim", "messages": [{"role": "user", "content": "q"}]} | fields).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\nauthorization: Bearer {self.key}\r\n"
        head += f"connection: close\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    async def send(self, request: bytes, source: str = ATTACKER, seconds: float = 15.0) -> bytes:
        """The whole response to these bytes, head included; empty: there was none.

        Raises:
            TimeoutError: the connection is open after so many seconds.
        """
        try:
            async with asyncio.timeout(seconds), self.connected(source) as (reader, writer):
                writer.write(request)
                return await reader.read()
        except ConnectionError:
            return b""

    async def ask(self, source: str = ATTACKER, **fields: object) -> int:
        """The status of the response to a chat request with these fields; 0: there was none."""
        return status_of(await self.send(self.request("/v1/chat/completions", **fields), source))


def status_of(response: bytes) -> int:
    """The HTTP status of a response; 0: it has none."""
    return int(response[9:12]) if response[:5] == b"HTTP/" and response[9:12].isdigit() else 0


class Attack(ABC):
    """One kind of attack.

    `name` and `expects`: what the table says; `expects` is a sentence. `spares_answers`: while it runs, requests of a
    client that behaves well are answered with 200; False: an error that says what failed, in time, is right, too.
    """

    name: ClassVar[str]
    expects: ClassVar[str]
    spares_answers: ClassVar[bool] = True

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()  # what came of it, for the table
        self.faults: list[str] = []  # what is not as expected

    @abstractmethod
    async def run(self, target: Target) -> None:
        """Attack until cancelled. It is begun several times in a run, alone and among all others. What it opens or
        changes is closed and restored when it is cancelled. An exception is a fault.
        """

    async def check(self, target: Target) -> None:  # noqa: B027
        """After its end: add what is not as expected to `faults`."""
