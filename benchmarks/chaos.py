"""The gateway while its backends are killed, hung, slowed, and answer with garbage or half a stream.

    python -m benchmarks.chaos --seconds 300

Three HTTP servers (the ones that the clients' tests use) are behind forwarders that change their mode every second:
each forwards, refuses, falls silent, slows down, sends garbage or cuts off. Twenty clients send requests all the
time, streaming and not. At the end: every request has an answer or one clear error, none took longer than
its deadline, the usage store has every request that was begun and at least the cost of every answer, and no task is
left. Prints JSON; exits with 1 if one of these fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

import httpx
import uvicorn

from tests.backends.fake_server import serving
from trim.config.factory import open_backends
from trim.config.settings import Config, ModelSettings, PriceSettings, PrmSettings, ServeSettings
from trim.server.app import create_app
from trim.server.gateway import Gateway

Mode = Literal["forward", "refuse", "silent", "slow", "garbage", "half"]
_DEADLINE = 4.0
_CLIENTS = 20
_GARBAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\x00]\n\n"


class Forwarder:
    """A TCP port in front of a server, with modes."""

    def __init__(self, url: str) -> None:
        self.mode: Mode = "forward"
        self.url = ""
        self._port = urlsplit(url).port
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> asyncio.Server:
        """Listen on a free port; `url` is where."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def change(self, mode: Mode) -> None:
        """Switch to another mode; refusing ends what is open."""
        self.mode = mode
        if mode == "refuse":
            for writer in self._open:
                writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "refuse":
            writer.transport.abort()
            return
        self._open.add(writer)
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        both = [
            asyncio.create_task(self._pump(reader, back)),
            asyncio.create_task(self._pump(there, writer, down=True)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self._open.discard(writer)
            for end in (writer, back):
                end.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, down: bool = False) -> None:
        with suppress(ConnectionError):
            while data := await source.read(512):
                while self.mode == "silent":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                if down and self.mode == "slow":
                    await asyncio.sleep(0.3)
                if down and self.mode == "garbage":
                    data = _GARBAGE
                if down and self.mode == "half":
                    data = data[: len(data) // 2]
                sink.write(data)
                await sink.drain()
                if down and self.mode in ("garbage", "half"):
                    return


@dataclass
class Outcome:
    """How requests ended."""

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0
    cost: float = 0.0

    def take(self, answer: httpx.Response) -> None:
        """An answer or one clear error."""
        if answer.status_code != 200:
            self.ends[f"{answer.status_code} {answer.json()['error']['code']}"] += 1
        elif answer.headers["content-type"].startswith("application/json"):
            self.ends["whole"] += 1
            self.cost += answer.json()["trim"]["cost"]
        else:
            events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
            if events[-1] == "[DONE]":
                self.ends["streamed"] += 1
                self.cost += json.loads(events[-2])["trim"]["cost"]
            else:
                self.ends[f"in the stream: {json.loads(events[-1])['error']['code']}"] += 1


async def client(url: str, number: int, over: float, outcome: Outcome) -> None:
    """Send requests until the time is over."""
    draw = random.Random(number)
    async with httpx.AsyncClient(timeout=_DEADLINE + 5) as session:
        while time.monotonic() < over:
            messages = [{"role": "user", "content": f"question {draw.random()}"}]
            body = {"model": draw.choice(("trim", "trim-weak", "trim-strong")), "messages": messages}
            started = time.monotonic()
            try:
                outcome.take(
                    await session.post(f"{url}/v1/chat/completions", json=body | {"stream": draw.random() < 0.5})
                )
            except Exception as error:
                outcome.wrong.append(f"{type(error).__name__}: {error}")
            outcome.longest = max(outcome.longest, time.monotonic() - started)
            await asyncio.sleep(0.2)


def configuration(urls: list[str]) -> Config:
    """The three servers through their forwarders; a failed judge hands over to the weak model."""
    weak, strong, prm = urls
    price = PriceSettings(0.1, 1.0)
    shared = {"model": "m", "timeout": 1.5, "retries": 1}
    return Config(
        weak=ModelSettings(backend="vllm", base_url=f"{weak}/v1", prices=price, **shared),  # type: ignore[arg-type]
        strong=ModelSettings(backend="vllm", base_url=f"{strong}/v1", prices=price, **shared),  # type: ignore[arg-type]
        prm=PrmSettings(backend="vllm", base_url=prm, on_error="weak", **shared),  # type: ignore[arg-type]
        serve=ServeSettings(deadline=_DEADLINE, breaker_failures=5, breaker_cooldown=1.0),
    )


async def run(seconds: float) -> int:
    """Run the load; returns the exit status."""
    logging.disable(logging.ERROR)
    async with AsyncExitStack() as stack:
        habits = [stack.enter_context(serving(delay=0.01, chunk=3)) for _ in range(3)]
        forwarders = [Forwarder(habit.url) for habit in habits]
        for forwarder in forwarders:
            stack.callback((await forwarder.start()).close)
        backends = await stack.enter_async_context(
            open_backends(configuration([forwarder.url for forwarder in forwarders]))
        )
        gateway = Gateway(backends)
        config = uvicorn.Config(create_app(lambda: nullcontext(gateway)), port=0, log_config=None, ws="none")
        server = uvicorn.Server(config)
        serve = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        results = await _storm(gateway, forwarders, url, seconds)
        server.should_exit = True
        await serve
    print(json.dumps(results, indent=2))
    return int(not results["holds"])


async def _storm(gateway: Gateway, forwarders: list[Forwarder], url: str, seconds: float) -> dict[str, object]:
    over, outcome, draw, lag = time.monotonic() + seconds, Outcome(), random.Random(0), 0.0
    asked = [asyncio.create_task(client(url, number, over, outcome)) for number in range(_CLIENTS)]
    while time.monotonic() < over:
        for forwarder in forwarders:
            forwarder.change(draw.choice(("forward", "forward", *get_args(Mode))))
        due = time.monotonic() + 1.0
        await asyncio.sleep(1.0)
        lag = max(lag, time.monotonic() - due)
    for forwarder in forwarders:
        forwarder.change("forward")
    await asyncio.gather(*asked)
    await asyncio.sleep(3.0)  # connections of clients and backends end
    spent = gateway.usage.totals(0)
    refused = sum(count for end, count in outcome.ends.items() if end.startswith("429"))
    left = [where for task in asyncio.all_tasks() if "/src/trim/" in (where := _written_in(task))]
    holds = {
        "one end each": not outcome.wrong,
        "in time": outcome.longest < _DEADLINE + 2.5,
        "every begun request is in the usage store": spent.requests == outcome.ends.total() - refused,
        "no spend lost": spent.cost >= outcome.cost - 1e-9,
        "no request in progress": gateway.admission.running == gateway.admission.queued == 0,
        "no task left": not left,
    }
    return {
        "requests": outcome.ends.total(),
        "ends": dict(outcome.ends.most_common()),
        "longest_seconds": round(outcome.longest, 2),
        "loop_lag_seconds": round(lag, 2),
        "wrong": outcome.wrong[:5],
        "total_cost_of_answers": outcome.cost,
        "in_the_usage_store": spent.cost,
        "tasks_left": left,
        "checks": holds,
        "holds": all(holds.values()),
    }


def _written_in(task: asyncio.Task[object]) -> str:
    """The file that a task's coroutine stands in."""
    code = getattr(task.get_coro(), "cr_code", None)
    return "" if code is None else str(code.co_filename)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    sys.exit(asyncio.run(run(parser.parse_args().seconds)))


if __name__ == "__main__":
    main()
