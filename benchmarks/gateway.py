"""The latency that the gateway adds to a step, and its maximum steps per second.

    python -m benchmarks.gateway --streams 500 --seconds 60

Simulated models write a step in 400 ms and put the time at which it was finished into its text; a client in another
process reads the clock (the system's monotonic one) when the step's event is there. The difference is what Router,
policy, judge (instant), gateway, HTTP and the client's own reading add. Every stream that ends is followed by another,
so that `streams` are open all the time. Then the same with models that take no time at all: the most steps per second.
With a state file and a cap, so that every request is reserved and settled; `--workers 2`: two processes share the port
and the file. CPU time and memory are of all of them. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import re
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from trim.config.factory import Backends
from trim.config.settings import Config, ServeSettings
from trim.protocols import LateCounts, StepStream
from trim.server.prometheus import shared_by_processes
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.types import Question, Role, Step, StepOptions

_STEP_SECONDS = 0.4
_LONGEST = 20  # steps
_STAMP = re.compile(rb"@(\d+\.\d+)@")
_PAGE_SIZE = 4096


@dataclass(frozen=True)
class Stamped(SimulatedModel):
    """A simulated model whose steps say when they were finished."""

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> StepStream:
        """Continue `kept`."""
        return _Stamps(super().steps(question, kept, options))


class _Stamps:
    def __init__(self, stream: StepStream) -> None:
        self._stream = stream

    def __aiter__(self) -> _Stamps:
        return self

    @property
    def pending_tokens(self) -> int:
        return self._stream.pending_tokens

    @property
    def late_counts(self) -> LateCounts:
        return self._stream.late_counts

    async def __anext__(self) -> Step:
        step = await anext(self._stream)
        await asyncio.sleep(0)  # as a socket does
        return replace(step, text=f"@{time.monotonic():.6f}@ {step.text}")

    async def aclose(self) -> None:
        await self._stream.aclose()


def backends(step_seconds: float, streams: int, folder: str) -> Backends:
    """Simulated models under a gateway's settings."""
    ends = (0.0,) * 4 + tuple(1 / (_LONGEST - 4 - i) for i in range(_LONGEST - 4))
    seconds = step_seconds / 40
    weak = Stamped(Role.WEAK, 0.8, ends, token_seconds=seconds, block=40)
    strong = Stamped(Role.STRONG, 0.97, ends, token_seconds=seconds, block=40)
    state = str(Path(folder) / "state.db")
    serve = ServeSettings(max_requests=streams, queue=streams, state=state, spend_per_hour=1e6)
    return Backends(replace(Config(), serve=serve), weak, strong, SimulatedPrm(0.9))


def serve(listening: socket.socket, step_seconds: float, streams: int, folder: str) -> None:
    """A server process."""
    import uvicorn

    from trim.server.app import create_app
    from trim.server.gateway import Gateway

    logging.disable(logging.INFO)

    async def run() -> None:
        gateway = Gateway(backends(step_seconds, streams, folder))
        app = create_app(lambda: nullcontext(gateway))
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")
        await uvicorn.Server(config).serve(sockets=[listening])

    config_loop = uvicorn.Config("", loop="auto").get_loop_factory()
    with asyncio.Runner(loop_factory=config_loop) as runner:
        runner.run(run())


@dataclass
class Seen:
    """What the client saw; latencies in seconds."""

    latencies: list[float] = field(default_factory=list)
    finished: int = 0
    broken: int = 0


async def one(port: int, number: int, seen: Seen) -> None:
    """A stream, read to its end."""
    messages = [{"role": "user", "content": f"question {number}"}]
    body = json.dumps({"model": "trim-threshold-0.5", "stream": True, "seed": number, "messages": messages}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    done = False
    try:
        while line := await reader.readline():
            now = time.monotonic()
            if b'"step":' in line and (stamp := _STAMP.search(line)):
                seen.latencies.append(now - float(stamp[1]))
            if line.startswith(b"data: [DONE]"):
                done = True
                break
    finally:
        writer.close()
    seen.finished += done
    seen.broken += not done


async def load(port: int, streams: int, seconds: float, pids: Sequence[int]) -> dict[str, float]:
    """Keep so many streams open for so long."""
    seen, numbers, over = Seen(), iter(range(10**9)), time.monotonic() + seconds

    async def client() -> None:
        while time.monotonic() < over:
            await one(port, next(numbers), seen)

    memory: list[float] = []

    async def watch() -> None:
        while time.monotonic() < over:
            memory.append(sum(map(_memory, pids)))
            await asyncio.sleep(1)

    started, before = time.monotonic(), sum(map(cpu_seconds, pids))
    await asyncio.gather(watch(), *(client() for _ in range(streams)))
    took = time.monotonic() - started
    spent = sum(map(cpu_seconds, pids)) - before
    p50, p99 = (float(np.percentile(seen.latencies, q)) * 1e3 for q in (50, 99))
    settled = memory[len(memory) // 5 :] or memory
    return {
        "streams": streams,
        "seconds": round(took, 1),
        "finished": seen.finished,
        "broken": seen.broken,
        "steps": len(seen.latencies),
        "steps_per_second": round(len(seen.latencies) / took, 1),
        "added_ms_p50": round(p50, 2),
        "added_ms_p99": round(p99, 2),
        "server_cpu": round(spent / took, 2),
        "server_cpu_ms_per_step": round(spent / len(seen.latencies) * 1e3, 3),
        "memory_mb_first": round(float(np.mean(settled[:10])), 1),
        "memory_mb_last": round(float(np.mean(settled[-10:])), 1),
    }


def _memory(pid: int) -> float:
    """Megabytes that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_SIZE / 1e6


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(step_seconds: float, streams: int, seconds: float, workers: int = 1) -> dict[str, float]:
    """Servers that share a port and a state file, and a load on them."""
    several = workers > 1
    with TemporaryDirectory() as folder, socket.socket() as listening, ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(2048)
        if several:
            stack.enter_context(shared_by_processes(Path(folder) / "metrics"))
        spawn = multiprocessing.get_context("spawn")
        arguments = (listening, step_seconds, streams, folder)
        processes = [spawn.Process(target=serve, args=arguments) for _ in range(workers)]
        try:
            for process in processes:
                process.start()
            port = listening.getsockname()[1]
            asyncio.run(_answered(port, 2 * workers))
            pids = [process.pid for process in processes if process.pid is not None]
            return asyncio.run(load(port, streams, seconds, pids))
        finally:
            for process in processes:
                process.terminate()
                process.join(10)
                process.kill()


async def _answered(port: int, times: int) -> None:
    """Returns when the servers answer."""
    for number in range(times):
        await one(port, number, Seen())
    await asyncio.sleep(2.0 if times > 2 else 0.0)  # for the others


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=1, help="server processes, as of trim serve --workers")
    args = parser.parse_args()
    results = {
        "workers": args.workers,
        "paced": measure(_STEP_SECONDS, args.streams, args.seconds, args.workers),
        "maximum": measure(0.0, 32, min(args.seconds, 15.0), args.workers),
    }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
