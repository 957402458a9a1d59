"""Runs the gateway under uvicorn, in this process or in several worker processes."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

import uvicorn
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess

from trim.config.loading import load_config
from trim.config.settings import Config, ServeSettings
from trim.errors import ConfigError
from trim.server.app import create_app
from trim.server.connection_limits import LimitedConfig
from trim.server.exposure import check_exposure
from trim.server.gateway import Gateway, open_gateway
from trim.server.log_limit import limited_log
from trim.server.open_files import raise_open_files
from trim.server.prometheus import forget, shared_by_processes

_ENVIRONMENT = "TRIM_SERVE"  # the variable by which worker processes get their arguments


class Overrides(TypedDict, total=False):
    """Settings of `[serve]` that replace those of the configuration."""

    host: str
    port: int
    keys: str
    record: str
    state: str
    insecure: bool


Models = Mapping[str, str | None]
"""Names in place of the configured models, see `load_config`."""


async def run(path: Path | None, overrides: Overrides, models: Models | None = None) -> None:
    """Serve until the process is told to stop.

    Args:
        path: of the configuration; None: the shipped models.
        overrides: settings of `[serve]` that replace its own.
        models: in place of its models.

    Raises:
        ConfigError: the configuration is not valid, a backend cannot be opened, or the address is taken or needs keys.
    """
    config = _config(path, overrides, models)
    serve = config.serve
    check_exposure(serve)
    async with AsyncExitStack() as stack:  # opened before the server starts: then an error is one sentence
        gateway = await stack.enter_async_context(open_gateway(config))
        opened = stack.pop_all()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Gateway]:
        async with opened, limited_log():
            yield gateway

    serve = replace(serve, max_connections=raise_open_files(serve))
    server = uvicorn.Server(_uvicorn(create_app(lifespan), serve))
    try:
        await server.serve()
    except SystemExit:  # uvicorn's way to say that it cannot listen
        if server.started:
            raise
    if not server.started:
        await opened.aclose()
        raise ConfigError(f"cannot listen at {serve.host}:{serve.port}; the log above says why")


def run_workers(path: Path | None, overrides: Overrides, workers: int, models: Models | None = None) -> None:
    """Serve with several processes until told to stop; a process that dies is replaced. Arguments as of `run`.

    They share the usage store's file; if none is configured, one that is removed at the end. What one of them says at
    `/metrics` is of all. Each takes its part of `max_requests` and of the `queue`.
    """
    with TemporaryDirectory(prefix="trim-") as folder, shared_by_processes(Path(folder) / "metrics"):
        serve = _config(path, overrides, models).serve
        check_exposure(serve)
        serve = replace(serve, max_connections=raise_open_files(serve))  # workers inherit the limit of files
        if not serve.state:
            overrides = Overrides(**overrides | {"state": str(Path(folder) / "state.db")})
        arguments = {"config": None if path is None else str(path), "overrides": overrides, "models": models}
        os.environ[_ENVIRONMENT] = json.dumps(arguments | {"workers": workers})
        config = _uvicorn("trim.server.run:worker_app", serve, workers=workers)
        Supervisor(config, [config.bind_socket()], Path(folder) / "metrics").run()


class Supervisor(Multiprocess):
    """Starts the worker processes, and others for those that die.

    Args:
        config: of each.
        sockets: that all of them listen at.
        metrics: the folder in which they count.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], metrics: Path) -> None:
        super().__init__(config, sockets)
        self._metrics = metrics

    def keep_subprocess_alive(self) -> None:
        """Replace those that have died."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for ended in before - {process.pid for process in self.processes}:
            if ended is not None:
                forget(ended, self._metrics)


def worker_app() -> Starlette:
    """The application of a worker process, from the environment that `run_workers` has set."""
    arguments = json.loads(os.environ[_ENVIRONMENT])
    path = Path(arguments["config"]) if arguments["config"] else None
    config = _config(path, arguments["overrides"], arguments["models"])
    part = replace(config, serve=_part(config.serve, arguments["workers"]))

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Gateway]:
        async with open_gateway(part) as gateway, limited_log():
            yield gateway

    return create_app(lifespan)


def _part(serve: ServeSettings, workers: int) -> ServeSettings:
    """One worker's part of the limits that each process keeps by itself."""
    requests, queue = max(1, serve.max_requests // workers), -(-serve.queue // workers)
    return replace(serve, max_requests=requests, queue=queue)


def _config(path: Path | None, overrides: Overrides, models: Models | None) -> Config:
    config = load_config(path, models=models)
    return replace(config, serve=replace(config.serve, **overrides))


def _uvicorn(app: str | Callable[..., object], serve: ServeSettings, workers: int | None = None) -> LimitedConfig:
    return LimitedConfig(
        app,
        serve,
        host=serve.host,
        port=serve.port,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(serve.grace)),
        workers=workers,
        factory=isinstance(app, str),
    )
