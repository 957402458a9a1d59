"""Starts the gateway that is attacked, and looks at its process from outside."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.attack import CLIENT, Target
from benchmarks.chaos.upstream import Upstream
from tests.server.real_gateway import PRICES
from trim.server.auth import generate_key, hash_key

DEADLINE = 4.0
_CONFIGURATION = """
[weak]
backend = "vllm"
model = "weak"
base_url = "{url}/v1"
prices = {{ prompt = {weak.prompt}, completion = {weak.completion} }}
timeout = 1.5
retries = 1
[strong]
backend = "vllm"
model = "strong"
base_url = "{url}/v1"
prices = {{ prompt = {strong.prompt}, completion = {strong.completion} }}
timeout = 1.5
retries = 1
[prm]
backend = "vllm"
model = "prm"
base_url = "{url}"
prices = {{ prompt = {prm.prompt} }}
timeout = 1.5
retries = 1
on_error = "weak"
[policy]
name = "threshold"
parameter = 0.5
[generation]
max_step_tokens = 64
[serve]
port = {port}
keys = "{folder}/keys.toml"
state = "{folder}/state.db"
record = "{folder}/traces"
max_tokens = 128
deadline = {deadline}
breaker_cooldown = 1.0
"""
_POOLS = ("asyncio", "ThreadPoolExecutor", "AnyIO worker thread", "large-texts", "traces")
"""Whose threads are kept for the next use."""


@dataclass(frozen=True)
class Resources:
    """What a process has. `memory`: its resident bytes."""

    memory: int
    sockets: int
    log: int

    @staticmethod
    def of(target: Target) -> Resources:
        """Now."""
        process = Path(f"/proc/{target.pid}")
        pages = int((process / "statm").read_text().split()[1])
        sockets = 0
        for entry in (process / "fd").iterdir():
            try:
                sockets += str(entry.readlink()).startswith("socket:")
            except FileNotFoundError:
                continue
        return Resources(pages * 4096, sockets, (target.folder / "log").stat().st_size)


async def written_down(target: Target, process: asyncio.subprocess.Process) -> tuple[list[str], Counter[str]]:
    """The tasks and the threads of the gateway now, as it says itself."""
    path = target.folder / "open.json"
    path.unlink(missing_ok=True)
    process.send_signal(signal.SIGUSR1)
    async with asyncio.timeout(10):
        while not path.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    found = json.loads(path.read_text())
    return found["tasks"], Counter(name for name in found["threads"] if not name.startswith(_POOLS))


async def metric(target: Target, name: str) -> float:
    """The sum of a metric over its labels."""
    request = f"GET /metrics HTTP/1.1\r\nhost: {target.host}:{target.port}\r\nconnection: close\r\n"
    answer = await target.send(f"{request}authorization: Bearer {target.key}\r\n\r\n".encode(), CLIENT)
    values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", answer.decode(), re.MULTILINE)
    return sum(map(float, values))


@asynccontextmanager
async def gateway(folder: Path, upstream: Upstream) -> AsyncIterator[tuple[Target, asyncio.subprocess.Process]]:
    """A gateway over this server, in a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = generate_key()
    (folder / "keys.toml").write_text(f'[[key]]\nname = "chaos"\nsha256 = "{hash_key(key)}"\n')
    values = {"weak": PRICES.weak, "strong": PRICES.strong, "prm": PRICES.prm}
    text = _CONFIGURATION.format(url=upstream.url, folder=folder, port=port, deadline=DEADLINE, **values)
    (folder / "trim.toml").write_text(text)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.chaos.gateway_process", str(folder), stdout=log, stderr=log
        )
    target = Target("127.0.0.1", port, key, folder, process.pid, upstream)
    try:
        await _started(target, process)
        yield target, process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(40):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _started(target: Target, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60):
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"the gateway did not start: {(target.folder / 'log').read_text()[-2000:]}")
            try:
                if await target.send(b"GET /healthz HTTP/1.0\r\n\r\n", CLIENT):
                    return
            except OSError:
                pass
            await asyncio.sleep(0.1)
