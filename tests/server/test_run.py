"""The server without the command line; `tests/cli/test_serve.py` starts it as a process."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from starlette.applications import Starlette

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
    path.write_text("[serve]\nport = 1234\nmax_requests = 3\n")
    seen: list[str] = []

    class Supervisor:
        def __init__(self, config: object, sockets: list[socket.socket]) -> None:
            for one in sockets:
                one.close()

        def run(self) -> None:
            seen.append(os.environ["TRIM_SERVE"])

    monkeypatch.setattr(run, "Multiprocess", Supervisor)
    monkeypatch.setenv("TRIM_SERVE", "")
    run.run_workers(path, {"port": 0, "record": str(tmp_path / "traces")}, 2)
    assert str(path) in seen[0]
    app = run.worker_app()
    assert isinstance(app, Starlette)

    async def open_and_look() -> tuple[int, str, int, str]:
        async with app.router.lifespan_context(app):
            settings = app.state.gateway.settings
            return settings.port, settings.record, settings.max_requests, Path(settings.state).name

    assert asyncio.run(open_and_look()) == (0, str(tmp_path / "traces"), 3, "state.db")
