"""What solving POMDPs for new prices does to the other streams of a gateway.

    python -m benchmarks.solving --rounds 4 --seconds 10

Streams of a threshold policy are open all the time over simulated models that write a step in 50 ms. Meanwhile another
client asks for a new price of a POMDP policy again and again: nothing is asked (`none`), or the gateway solves for it
on the event loop at the first decision, as it did before (`inline`), or as it does now, in a thread (`thread`). The
client reads the clock at every step of the other streams. All modes take turns in one run, so that other load on the
machine affects all of them equally. Prints a table (Markdown): the time between two steps, and how often it was
longer than without any solving.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import socket
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from trim.config.factory import Backends
from trim.config.settings import Config, PolicySettings, ServeSettings
from trim.protocols import Policy
from trim.server.policy_preparation import PolicyPreparation, Priority
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.types import Role

Mode = Literal["none", "inline", "thread"]
_POLICIES = ("pomdp", "pomdp+revise+4")
_STEP_SECONDS = 0.05
_STREAMS = 8
_PAUSE = 0.1  # seconds from an answer at a new price to the next request at another


class InlinePreparation(PolicyPreparation):
    """Prepares nothing: the first decision at a price solves for it on the event loop."""

    async def ready(self, policy: Policy, priority: Priority = Priority.REQUEST) -> None:
        """Return at once."""


@dataclass
class Gaps:
    """Seconds between two steps of a stream, and how long requests at new prices took."""

    seconds: list[float] = field(default_factory=list)
    solved: list[float] = field(default_factory=list)


def serve(port: int, policy: str, mode: Mode) -> None:
    """The server process."""
    import uvicorn

    from trim.server.app import create_app
    from trim.server.gateway import Gateway

    logging.disable(logging.INFO)
    tokens = _STEP_SECONDS / 40
    ends = (0.0,) * 9 + (1.0,)  # ten steps
    weak, strong = (
        SimulatedModel(role, accuracy, ends, token_seconds=tokens, block=40)
        for role, accuracy in ((Role.WEAK, 0.8), (Role.STRONG, 0.97))
    )
    config = replace(Config(), policy=PolicySettings(policy), serve=ServeSettings(max_requests=_STREAMS + 4))

    async def run() -> None:
        gateway = Gateway(Backends(config, weak, strong, SimulatedPrm(0.9)))
        if mode == "inline":
            gateway.preparation = InlinePreparation(gateway.metrics.preparation.observe)
        app = create_app(lambda: nullcontext(gateway))
        await uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, ws="none")).serve()

    with asyncio.Runner(loop_factory=uvicorn.Config("", loop="auto").get_loop_factory()) as runner:
        runner.run(run())


async def post(port: int, body: dict[str, object]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request."""
    data = json.dumps(body | {"messages": [{"role": "user", "content": "q"}]}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        f"content-type: application/json\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    return reader, writer


async def load(port: int, policy: str, mode: Mode, seconds: float, first_price: int) -> Gaps:
    """Keep the streams open for so long, and ask for new prices meanwhile."""
    gaps, over, seeds = Gaps(), time.monotonic() + seconds, iter(range(10**9))

    async def stream() -> None:
        await asyncio.sleep(_STEP_SECONDS * next(seeds) / _STREAMS)  # not all at the same time
        while time.monotonic() < over:
            reader, writer = await post(port, {"model": "trim-threshold-0.5", "stream": True, "seed": next(seeds)})
            last = None
            while line := await reader.readline():
                if b'"step":' in line:
                    now = time.monotonic()
                    if last is not None:
                        gaps.seconds.append(now - last)
                    last = now
            writer.close()

    async def ask_for_prices() -> None:
        number = first_price
        while time.monotonic() < over:
            number += 1
            trim = {"policy": policy, "price": 0.0005 + number * 1e-7}
            started = time.monotonic()
            reader, writer = await post(port, {"model": "trim", "trim": trim, "seed": 1, "max_tokens": 40})
            status = await reader.readline()
            assert b" 200 " in status, status
            await reader.read()
            gaps.solved.append(time.monotonic() - started)
            writer.close()
            await asyncio.sleep(_PAUSE)

    await asyncio.gather(*(stream() for _ in range(_STREAMS)), *([ask_for_prices()] if mode != "none" else []))
    return gaps


def measure(policy: str, mode: Mode, seconds: float, first_price: int) -> Gaps:
    """A server of its own, and a load on it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(port, policy, mode))
    process.start()
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        asyncio.run(load(port, policy, "none", 1.0, 0))  # warm
        return asyncio.run(load(port, policy, mode, seconds, first_price))
    finally:
        process.terminate()
        process.join(10)
        process.kill()


def table(found: dict[tuple[str, Mode], Gaps]) -> str:
    """The results, with the ratios to the mode without solves."""
    lines = [
        "| policy | solving | solves | answer at a new price, p50 "
        "| between two steps, p50 | p99 | p99.9 | p99 relative to none |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for policy in _POLICIES:
        base = float(np.percentile(found[policy, "none"].seconds, 99))
        for mode in get_args(Mode):
            gaps = found[policy, mode]
            p50, p99, p999 = (float(np.percentile(gaps.seconds, q)) for q in (50, 99, 99.9))
            asked = f"{1e3 * float(np.median(gaps.solved)):.0f} ms" if gaps.solved else "-"
            lines.append(
                f"| {policy} | {mode} | {len(gaps.solved)} | {asked} | {1e3 * p50:.1f} ms | {1e3 * p99:.1f} ms "
                f"| {1e3 * p999:.1f} ms | {p99 / base:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a round of each mode")
    args = parser.parse_args()
    found: dict[tuple[str, Mode], Gaps] = {}
    for number in range(args.rounds):
        for policy in _POLICIES:
            for mode in get_args(Mode):
                gaps = measure(policy, mode, args.seconds, 1000 * number)
                total = found.setdefault((policy, mode), Gaps())
                total.seconds += gaps.seconds
                total.solved += gaps.solved
    print(table(found))


if __name__ == "__main__":
    main()
