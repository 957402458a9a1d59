"""The server without the command line; `tests/cli/test_serve.py` starts it as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from tests.server.gateway import ask
from trim.errors import ConfigError
from trim.server import run


def test_an_address_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1:{port}"):
            asyncio.run(run.run(None, {"port": port}))


def test_a_worker_process_gets_the_configuration_and_what_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trim.toml"
    path.write_text("[serve]\nport = 1234\nmax_requests = 5\n")
    seen: list[str] = []

    class Supervisor:
        def __init__(self, config: object, sockets: list[socket.socket], metrics: Path) -> None:
            for one in sockets:
                one.close()

        def run(self) -> None:
            seen.append(os.environ["TRIM_SERVE"])

    monkeypatch.setattr(run, "Supervisor", Supervisor)
    monkeypatch.setenv("TRIM_SERVE", "")
    run.run_workers(path, {"port": 0, "record": str(tmp_path / "traces")}, 2)
    assert str(path) in seen[0]
    app = run.worker_app()
    assert isinstance(app, Starlette)

    async def open_and_look() -> tuple[int, str, int, str]:
        async with app.router.lifespan_context(app):
            settings = app.state.gateway.settings
            return settings.port, settings.record, settings.max_requests, Path(settings.state).name

    assert asyncio.run(open_and_look()) == (0, str(tmp_path / "traces"), 2, "state.db")  # its half of 5 requests


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, to find the workers")
def test_workers_are_one_gateway() -> None:
    """Whichever worker answers, its metrics are those of all, also of one that was killed and replaced."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "trim.cli.main", "serve", "--workers", "2", "--port", str(port)]
    done = 'trim_requests_total{policy="threshold",status="ok"}'
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            limit = time.monotonic() + 60
            while not listens(port):
                assert time.monotonic() < limit
                time.sleep(0.05)
            with ThreadPoolExecutor(8) as pool:
                asked = pool.map(lambda _: httpx.post(f"{url}/v1/chat/completions", json=ask("2 + 2?")), range(16))
            assert [answer.status_code for answer in asked] == [200] * 16
            while value(url, done) < 16.0:  # counted once the answer has been sent
                assert time.monotonic() < limit
            assert [value(url, done) for _ in range(8)] == [16.0] * 8
            first = workers(process.pid)[0]
            os.kill(first, signal.SIGKILL)
            while first in (now := workers(process.pid)) or len(now) < 2:
                assert time.monotonic() < limit
                time.sleep(0.05)
            assert [value(url, done) for _ in range(8)] == [16.0] * 8
            assert value(url, "trim_requests_in_progress") == 0.0
        finally:
            process.terminate()
            process.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def workers(parent: int) -> list[int]:
    """The worker processes of one."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def value(url: str, metric: str) -> float:
    """A metric, as whichever worker answers says it."""
    text = httpx.get(f"{url}/metrics", timeout=30).text
    (line,) = [line for line in text.splitlines() if line.startswith(f"{metric} ")]
    return float(line.rpartition(" ")[2])
