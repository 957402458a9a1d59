"""Whether the gateway's event loop stays free: the time that `/healthz` takes while the gateway is attacked.

    python -m benchmarks.event_loop [--quick] [--only locked-store,first-policies]

A gateway, the server behind it, a client that asks `/healthz` every 5 ms, and the attacker are processes of their own.
Each attack is followed by a pause. Prints the median, the 99th percentile and the maximum of `/healthz` during each
beside those of the idle gateway in the same run, and where the event loop stood while it was blocked (a thread in the
gateway looks every few milliseconds). Exits with 1 if a 99th percentile is over 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import socket
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import numpy as np

from benchmarks import hostile_upstream
from trim.config.settings import (
    Config,
    GenerationSettings,
    ModelSettings,
    PolicySettings,
    PriceSettings,
    PrmSettings,
    ServeSettings,
)
from trim.config.specs import identities
from trim.policies.artifacts import Models, Provenance
from trim.policies.pomdp import PomdpPolicy
from trim.pomdp import PomdpModel
from trim.simulation import graded

_LIMIT = 0.1  # seconds
_EVERY = 0.005
_BLOCKED = 0.03  # seconds after which the loop's stack is looked at
_MEGABYTE = 1_000_000
_BODY = 10 * _MEGABYTE


def configuration(upstream: str, folder: Path, separator: str) -> Config:
    """A gateway with a cap, a state file and traces, whose bodies may have 10 MB."""
    price = PriceSettings(0.1, 1.0)
    weak, strong = (ModelSettings("vllm", "m", f"{upstream}/v1", prices=price) for _ in range(2))
    prm = PrmSettings("vllm", "m", upstream, prices=PriceSettings(0.1))
    serve = ServeSettings(
        max_body=_BODY, state=str(folder / "state.db"), record=str(folder / "traces"), spend_per_day=1e6, deadline=30.0
    )
    made = Config(weak, strong, prm, generation=GenerationSettings(separator=separator), serve=serve)  # type: ignore[arg-type]
    provenance = Provenance(Models(**identities(made)), "simulated", "2026-11-30", 0)
    model = PomdpModel(0.9, 0.98, (0.0, 0.2, 0.5, 1.0), graded(0.85), 40.0, 0.9)
    PomdpPolicy(model, 0.001).save(folder / "policy", provenance)
    return replace(made, policy=PolicySettings("threshold", path=str(folder / "policy")))


# The processes ----------------------------------------------------------------------------------------------------


def serve_gateway(port: int, config: Config, stacks: Path) -> None:
    """The gateway's process."""
    import uvicorn

    from trim.server.app import create_app
    from trim.server.gateway import open_gateway

    logging.disable(logging.ERROR)
    watched = create_app(lambda: open_gateway(config))

    async def run() -> None:
        threading.Thread(target=_watch, args=(_beat(), threading.main_thread().ident, stacks), daemon=True).start()
        await uvicorn.Server(uvicorn.Config(watched, port=port, log_config=None, ws="none")).serve()

    with asyncio.Runner(loop_factory=uvicorn.Config("", loop="auto").get_loop_factory()) as runner:
        runner.run(run())


def _beat() -> list[float]:
    """When the event loop was last free, kept up to date."""
    loop, last = asyncio.get_running_loop(), [time.monotonic()]

    def beat() -> None:
        last[0] = time.monotonic()
        loop.call_later(_EVERY, beat)

    beat()
    return last


def _watch(last: list[float], thread: int, stacks: Path) -> None:
    """Write down where the event loop stands while it is not free."""
    with stacks.open("a") as file:
        while True:
            time.sleep(_EVERY)
            now = time.monotonic()
            if now - last[0] > _BLOCKED:
                file.write(json.dumps([now, _place(sys._current_frames().get(thread))]) + "\n")
                file.flush()


def _place(frame: FrameType | None) -> str:
    """The innermost function, and those of the project that have called it."""
    found: list[str] = []
    while frame is not None and len(found) < 4:
        code = frame.f_code
        own = "/trim/" in code.co_filename
        if own or not found:
            found.append(f"{Path(code.co_filename).stem}.{code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(found)


def ask_health(port: int, path: Path) -> None:
    """The prober's process: appends the time and the duration of each request."""
    head = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    with path.open("a") as file, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            started = time.monotonic()
            connection.sendall(head)
            while not connection.recv(65_536).endswith(b"}"):
                pass
            ended = time.monotonic()
            file.write(f"{started} {ended}\n")
            file.flush()
            time.sleep(max(0.0, _EVERY - (ended - started)))


def hold_lock(path: str, seconds: float) -> None:
    """A process that keeps the usage store to itself."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as db:
        db.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        db.execute("ROLLBACK")


# The attacks ------------------------------------------------------------------------------------------------------


@dataclass
class Target:
    """Where the attacks go. `ends` counts how requests ended."""

    port: int
    state: str
    ends: Counter[str]

    async def post(self, path: str, body: bytes, *, rate: int = 0, seconds: float = 60.0) -> bytes:
        """Send a request and read its answer, `rate` bytes each second for some seconds, or all of it at once."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 16)
                head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                writer.write(f"{head}connection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
                try:
                    answer = await reader.read(12)
                    self.ends[answer[9:12].decode() or "none"] += 1
                    while part := await reader.read(rate or 65_536):
                        answer += part
                        if rate:
                            await asyncio.sleep(1.0)
                    return answer
                finally:
                    writer.transport.abort()
        self.ends["broken"] += 1
        return b""

    async def chat(self, question: str, **fields: Any) -> bytes:
        """A chat."""
        return await self.post("/v1/chat/completions", chat_body(question, **fields))

    async def get(self, path: str) -> bytes:
        """Read a page."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer


def chat_body(question: str, **fields: Any) -> bytes:
    """The body of a chat."""
    messages = [{"role": "user", "content": question}]
    return json.dumps({"model": "trim", "messages": messages} | fields, ensure_ascii=False).encode()


_FILLERS = {
    "text": "How many are 1 and 2? ",
    "newlines": "\n",
    "control-tokens": "<|im_start|>",
    "openings": "<|",
    "less-than": "<",
    "brackets": "[",
    "wide": "\U0001f600",
}


def _question(filler: str, size: int, kind: str = "short") -> str:
    head = f"attack:{kind} "
    return head + filler * ((size - len(head)) // len(filler.encode()))


async def _questions(target: Target, size: int, fillers: Sequence[str]) -> None:
    for filler in fillers:
        question = _question(_FILLERS[filler], size)
        await target.chat(question, stream=True)
        await target.post("/v1/completions", json.dumps({"model": "trim", "prompt": question}).encode())
        await target.post("/v1/responses", json.dumps({"model": "trim", "input": question}).encode())


async def million(target: Target) -> None:
    """Questions of 1 MB to every endpoint, of several kinds of characters."""
    await _questions(target, _MEGABYTE, tuple(_FILLERS))


async def largest(target: Target) -> None:
    """The same of 10 MB, as much as the body may have."""
    await _questions(target, _BODY - 10_000, ("text", "control-tokens"))


async def at_once(target: Target) -> None:
    """64 requests of 1 MB at once."""
    await asyncio.gather(*(target.chat(_question(_FILLERS["text"], _MEGABYTE)) for _ in range(64)))


async def messages(target: Target) -> None:
    """A conversation of 100,000 messages, and prompts of 100,000 texts."""
    talk = [{"role": ("user", "assistant")[i % 2], "content": "x"} for i in range(20_001)]
    await target.post("/v1/chat/completions", json.dumps({"model": "trim", "messages": talk}).encode())
    await target.post("/v1/completions", json.dumps({"model": "trim", "prompt": ["x"] * 100_000}).encode())
    parts = [{"type": "text", "text": "x"}] * 20_000
    talk = [{"role": "user", "content": parts}]  # type: ignore[dict-item]
    await target.post("/v1/chat/completions", json.dumps({"model": "trim", "messages": talk}).encode())


async def nested(target: Target) -> None:
    """Deeply nested and very wide JSON, and numbers of many digits."""
    body = chat_body("attack:short")[:-1]
    for size in (1_000, 100_000, 4_000_000):
        await target.post("/v1/chat/completions", body + b', "x": ' + b"[" * size + b"]" * size + b"}")
    wide = b",".join(b'"a%d": 1' % i for i in range(300_000))
    await target.post("/v1/chat/completions", body + b", " + wide + b"}")
    await target.post("/v1/chat/completions", body + b', "metadata": {' + wide + b"}}")
    await target.post("/v1/chat/completions", body + b', "seed": ' + b"9" * _MEGABYTE + b"}")
    await target.post("/v1/chat/completions", body + b', "x": [' + b"{}," * 2_000_000 + b"{}]}")


async def answers(target: Target) -> None:
    """Pathological answers from upstream, of each kind."""
    for kind in hostile_upstream.ANSWERS:
        await target.chat(f"attack:{kind}", stream=True)


async def kept_answers(target: Target) -> None:
    """The same, not streamed, and kept as they are by the weak model alone."""
    for kind in hostile_upstream.ANSWERS:
        await target.chat(f"attack:{kind}", model="trim-weak")


async def stops(target: Target) -> None:
    """Stop strings that nearly match."""
    stop = ["a " * 99 + "b", "a" * 199 + "b", "\n" * 199 + "b", "a. " * 60 + "b"]
    for kind in ("long-step", "long-word", "newlines", "dots", "tiny-chunks"):
        await target.chat(f"attack:{kind}", model="trim-weak", stop=stop)


async def locked_store(target: Target, seconds: float = 8.0) -> None:
    """Another process has the usage store to itself while requests come."""
    locker = _process(hold_lock, target.state, seconds)
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        await asyncio.gather(*(target.chat("attack:short") for _ in range(8)))
        await target.get("/metrics")
        await target.get("/v1/trim/recent")
        await target.chat("attack:short", model="trim-threshold-20%")
    locker.join()


async def first_policies(target: Target) -> None:
    """The first use of every policy, at parameters that nobody has asked for."""
    listed = json.loads((await target.get("/v1/models")).partition(b"\r\n\r\n")[2])
    names = [entry["id"] for entry in listed["data"]]
    await asyncio.gather(*(target.chat("attack:short", model=name) for name in names))
    for price in (0.01, 0.02, 0.03):
        for policy in ("pomdp", "pomdp+1", "pomdp+2", "pomdp+revise", "pomdp+revise+4"):
            await target.chat("attack:short", trim={"policy": policy, "price": price})


async def metrics(target: Target) -> None:
    """Many series: targets and policies that clients think of; and the pages that show them."""
    for i in range(200):
        await target.chat("attack:short", model=f"trim-threshold-{i / 7:.3f}%")
    for _ in range(20):
        await target.get("/metrics")
        await target.get("/v1/trim/recent")
        await target.get("/openapi.json")
        await target.get("/docs")


async def slow_reader(target: Target) -> None:
    """Clients that read a large answer byte by byte."""
    body = chat_body("attack:steps", stream=True, model="trim-weak")
    await asyncio.gather(
        *(target.post("/v1/chat/completions", body, rate=1, seconds=4.0) for _ in range(16)),
        return_exceptions=True,
    )


Attack = Callable[[Target], Awaitable[None]]
ATTACKS: dict[str, Attack] = {
    "questions of 1 MB": million,
    "questions of 10 MB": largest,
    "64 questions of 1 MB at once": at_once,
    "many messages": messages,
    "nested JSON": nested,
    "answers": answers,
    "answers kept": kept_answers,
    "stop strings": stops,
    "locked store": locked_store,
    "first use of policies": first_policies,
    "metrics": metrics,
    "slow readers": slow_reader,
}


async def quick(target: Target) -> None:
    """A few of everything, in seconds."""
    await target.chat(_question(_FILLERS["control-tokens"], _MEGABYTE))
    for kind in ("newlines", "tiny-chunks", "long-word"):
        await target.chat(f"attack:{kind}", stream=True)
    await target.post("/v1/chat/completions", b"[" * 100_000)
    await locked_store(target, 1.0)


# The measurement --------------------------------------------------------------------------------------------------


def _process(target: Callable[..., None], *arguments: object) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def _wait(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens at port {port}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass(frozen=True)
class Found:
    """`/healthz` during an attack, in milliseconds; `blocked` are the places where the event loop stood longest."""

    attack: str
    seconds: float
    p50: float
    p99: float
    most: float
    ends: dict[str, int]
    blocked: list[tuple[str, int]]


class Measurement:
    """A gateway under attack.

    Args:
        folder: for its files.
        separator: of steps.
    """

    def __init__(self, folder: Path, separator: str = "blank-line") -> None:
        self._probes, self._stacks = folder / "probes", folder / "stacks"
        upstream, port = _free_port(), _free_port()
        config = configuration(f"http://127.0.0.1:{upstream}", folder, separator)
        self.processes = [_process(hostile_upstream.serve, upstream)]
        self.processes.append(_process(serve_gateway, port, config, self._stacks))
        _wait(upstream)
        _wait(port)
        self.processes.append(_process(ask_health, port, self._probes))
        self._target = Target(port, config.serve.state, Counter())

    async def warm_up(self) -> None:
        """What only the first request waits for is not measured."""
        await self._target.chat("attack:short")

    async def idle(self, seconds: float) -> Found:
        """Without an attack."""
        return await self.during("idle", lambda _: asyncio.sleep(seconds))

    async def during(self, name: str, attack: Attack) -> Found:
        """While an attack runs."""
        await asyncio.sleep(0.3)
        self._target.ends.clear()
        started = time.monotonic()
        await attack(self._target)
        await asyncio.sleep(0.1)
        ended = time.monotonic()
        await asyncio.sleep(0.3)
        probes = [tuple(map(float, line.split())) for line in self._probes.read_text().splitlines() if " " in line]
        seconds = [end - begin for begin, end in probes if begin < ended and end > started]
        blocked = Counter(place for at, place in self._blocked() if started <= at <= ended)
        p50, p99 = (float(np.percentile(seconds, q)) * 1e3 for q in (50, 99))
        return Found(
            name, ended - started, p50, p99, max(seconds) * 1e3, dict(self._target.ends), blocked.most_common(6)
        )

    def _blocked(self) -> list[tuple[float, str]]:
        lines = self._stacks.read_text().splitlines() if self._stacks.exists() else []
        return [tuple(json.loads(line)) for line in lines if line.endswith("]")]

    def close(self) -> None:
        """End all processes."""
        for process in reversed(self.processes):
            process.kill()
            process.join(10)


def show(found: Found) -> None:
    """A line for an attack, and the places below it."""
    ends = ", ".join(f"{count} x {end}" for end, count in sorted(found.ends.items()))
    print(f"{found.attack:30} {found.seconds:6.1f} {found.p50:8.1f} {found.p99:8.1f} {found.most:8.1f}  {ends}")
    for place, count in found.blocked:
        print(f"{'':10}{count:4} x {place}")
    sys.stdout.flush()


async def run(attacks: dict[str, Attack], separator: str, idle: float) -> bool:
    """Measure and print; whether the event loop stayed free."""
    free = True
    with TemporaryDirectory() as folder, closing(Measurement(Path(folder), separator)) as measurement:
        await measurement.warm_up()
        print(f"{'attack':30} {'s':>6} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}  answers")
        show(await measurement.idle(idle))
        for name, attack in attacks.items():
            found = await measurement.during(name, attack)
            show(found)
            free = free and found.p99 <= _LIMIT * 1e3
    return free


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few attacks, in seconds")
    parser.add_argument("--only", default="", help="attacks by the beginnings of their names, with commas between")
    parser.add_argument("--separator", default="blank-line", help="what ends a step")
    args = parser.parse_args()
    only = tuple(args.only.split(","))
    attacks: dict[str, Attack] = (
        {"quick": quick} if args.quick else {n: a for n, a in ATTACKS.items() if n.startswith(only)}
    )
    sys.exit(not asyncio.run(run(attacks, args.separator, 0.5 if args.quick else 3.0)))


if __name__ == "__main__":
    main()
