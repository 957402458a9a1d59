"""A gateway in a process of its own that can be killed at any moment, in front of a counting upstream.

The listening socket belongs to the test: clients that come while no gateway runs wait. The test also has the hands of
its clocks.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from tests.forked import forked
from tests.server.counting_upstream import CountingUpstream, Habits
from trim.config.settings import (
    Config,
    GenerationSettings,
    ModelSettings,
    PolicySettings,
    PriceSettings,
    PrmSettings,
    ServeSettings,
)
from trim.types import Price, Prices

PRICES = Prices(weak=Price(1.0, 4.0), strong=Price(10.0, 40.0), prm=Price(1.0))
_Result = TypeVar("_Result")
_HANDS = struct.Struct("dd")  # seconds that both clocks, and the machine's alone, are ahead


def config(url: str, state: Path, /, **serve: Any) -> Config:
    """A gateway's configuration whose three models are at that address."""

    def prices(price: Price) -> PriceSettings:
        return PriceSettings(price.prompt, price.completion)

    weak, strong = (
        ModelSettings(backend="vllm", base_url=f"{url}/v1", model=role, retries=0, prices=prices(price))
        for role, price in (("weak", PRICES.weak), ("strong", PRICES.strong))
    )
    prm = PrmSettings(backend="vllm", base_url=url, model="prm", retries=0, prices=prices(PRICES.prm))
    given: dict[str, Any] = {"state": str(state), "max_tokens": 60, "grace": 1.0, "breaker_failures": 0}
    settings = ServeSettings(**given | serve)
    generation = GenerationSettings(max_step_tokens=40)
    return Config(weak, strong, prm, PolicySettings("threshold", 0.5), generation=generation, serve=settings)


def serve(made: Config, listening: socket.socket, hands: Path, log: Path) -> None:
    """The gateway's process."""
    import uvicorn

    from trim.server.app import create_app
    from trim.server.gateway import open_gateway

    logging.basicConfig(filename=log, level=logging.WARNING, force=True)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def ahead() -> tuple[float, float]:
        both, machine = _HANDS.unpack(hands.read_bytes())
        return both, machine

    def wall() -> float:
        return 1_700_000_000 + time.monotonic() + sum(ahead())

    def elapsed() -> float:
        return time.monotonic() + ahead()[0]

    app = create_app(lambda: open_gateway(made, clock=wall, elapsed=elapsed))
    uvicorn_config = uvicorn.Config(
        app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=round(made.serve.grace)
    )
    uvicorn.Server(uvicorn_config).run(sockets=[listening])


@dataclass
class RealGateway:
    """The gateway, its clients and its upstream."""

    folder: Path
    upstream: CountingUpstream
    settings: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    listening: socket.socket
    process: BaseProcess | None = None
    asked: list[Future[int]] = field(default_factory=list)
    ahead: tuple[float, float] = (0.0, 0.0)
    left: int = 0  # clients that did not wait for the answer

    @cached_property
    def config(self) -> Config:
        """The gateway's configuration."""
        return config(self.upstream.url, self.state, **self.settings)

    @property
    def state(self) -> Path:
        """The usage store's file."""
        return self.folder / "state.db"

    def start(self) -> None:
        """Start a process, unless one runs."""
        if self.process is None:
            self.turn(*self.ahead)
            self.process = forked(serve, self.config, self.listening, self.folder / "hands", self.folder / "log")

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it by a signal."""
        process, self.process = self.process, None
        if process is not None and process.pid is not None:
            os.kill(process.pid, number)
            process.join(60)
            assert not process.is_alive()

    def turn(self, both: float, machine: float) -> None:
        """Set the clocks: so many seconds ahead."""
        self.ahead = (both, machine)
        new = self.folder / "hands.new"
        new.write_bytes(_HANDS.pack(both, machine))
        new.replace(self.folder / "hands")

    def ask(self, *, leave_after: float | None = None, **fields: Any) -> Future[int]:
        """Send a request; the future has the status of the answer, 0 if there was none."""
        body = {"model": "trim", "messages": [{"role": "user", "content": "q"}]} | fields
        future = self._sent("POST", "/v1/chat/completions", json.dumps(body).encode(), leave_after)
        self.asked.append(future)
        self.left += leave_after is not None
        return future

    def wait(self) -> list[int]:
        """The statuses of all requests, once they are answered."""
        statuses = [future.result(60) for future in self.asked]
        self.asked.clear()
        return statuses

    @property
    def cost(self) -> float:
        """What the upstream has generated so far."""
        return self.upstream.cost(PRICES)

    def books(self) -> tuple[float, float]:
        """What the usage store says was spent, and what is held."""
        with closing(sqlite3.connect(self.state, timeout=10)) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'reservations'").fetchone():
                return 0.0, 0.0
            (spent,) = db.execute("SELECT TOTAL(cost) FROM spend").fetchone()
            (held,) = db.execute("SELECT TOTAL(MAX(cost, used)) FROM reservations").fetchone()
        return spent, held

    def ready(self) -> None:
        """It has started, and so settled what another had left."""
        self._sent("GET", "/healthz").result(30)

    def settled(self) -> float:
        """What was spent, once nothing is held any more."""
        self.ready()
        limit = time.monotonic() + 10
        while (found := self.books())[1] > 0:
            assert time.monotonic() < limit, found
            time.sleep(0.005)
        return found[0]

    def _sent(self, method: str, path: str, body: bytes = b"", leave_after: float | None = None) -> Future[int]:
        return asyncio.run_coroutine_threadsafe(self._send(method, path, body, leave_after), self.loop)

    async def _send(self, method: str, path: str, body: bytes, leave_after: float | None) -> int:
        try:
            async with asyncio.timeout(leave_after):
                host, port = self.listening.getsockname()
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
                    writer.write(
                        f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
                    )
                    writer.write(body)
                    answer = await reader.read()
                finally:
                    writer.transport.abort()
        except (TimeoutError, ConnectionError):
            return 0
        return int(answer[9:12]) if answer else 0


@contextmanager
def real_gateway(folder: Path, habits: Habits | None = None, **settings: Any) -> Iterator[RealGateway]:
    """A gateway under these `[serve]` settings, not started yet."""
    with _loop() as loop, socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        upstream = CountingUpstream(habits or Habits())
        opened = upstream.listening()
        asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result()
        gateway = RealGateway(folder, upstream, settings, loop, listening)
        gateway.turn(600.0, 0.0)
        try:
            yield gateway
        finally:
            gateway.end()
            asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
