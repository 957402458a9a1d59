"""`trim serve`: step routing behind OpenAI's API. `trim key`: an API key for it."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trim.cli.options import Commands
from trim.config.loading import load_config
from trim.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    import uvicorn

    from trim.server.gateway import Gateway

_DESCRIPTION = """\
Serves step routing behind OpenAI's API: change one base URL in the client that you already use. Without --config the
shipped models answer: no GPU, no network. Settings stand in [serve] of the configuration (docs/gateway.md).

examples:
  trim serve
  trim serve --config trim.toml --host 0.0.0.0 --port 8080 --keys keys.toml --record traces
  curl localhost:8080/v1/chat/completions -H 'content-type: application/json' -d \\
       '{"model": "trim-threshold-0.8", "stream": true, "messages": [{"role": "user", "content": "What is 17 * 3?"}]}'
"""


def register(commands: Commands) -> None:
    """Add the commands."""
    serve = commands.add_parser(
        "serve",
        help="an OpenAI-compatible server",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument(
        "--config", type=Path, metavar="trim.toml", help="models and settings (default: the embedded pair)"
    )
    serve.add_argument("--host", help="address to listen at (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="0: any free one (default: 8080)")
    serve.add_argument(
        "--workers", type=int, default=1, help="processes; limits and books are per process (default: 1)"
    )
    serve.add_argument("--keys", metavar="keys.toml", help="API keys (default: everybody may ask)")
    serve.add_argument("--record", metavar="DIR", help="append traces, for trim fit and calibrate")
    serve.add_argument("--state", metavar="FILE", help="SQLite file that spend and held shares survive a restart in")
    serve.set_defaults(run=_serve, command="serve")
    key = commands.add_parser(
        "key",
        help="make an API key for trim serve",
        description="Prints a new key, and what to append to the file of keys.",
    )
    key.add_argument("name", help="whose key it is")
    key.set_defaults(run=_key, command="key")


async def _serve(args: argparse.Namespace) -> int:
    for package in ("starlette", "uvicorn", "prometheus_client", "pydantic"):
        if find_spec(package) is None:
            raise MissingExtra(package, "serve")
    from trim.server.app import create_app, settings_for_workers, with_changes
    from trim.server.gateway import open_gateway

    changes = {
        name: value
        for name in ("host", "port", "keys", "record", "state")
        if (value := getattr(args, name)) is not None
    }
    config = with_changes(load_config(args.config), changes)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    serve = config.serve
    if args.workers < 1:
        raise ConfigError(f"--workers must be at least 1, not {args.workers}")
    if args.workers > 1:
        os.environ.update(settings_for_workers(args.config, changes))
        _supervise(_uvicorn("trim.server.app:from_environment", serve, workers=args.workers, factory=True))
        return 0
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(
            open_gateway(config)
        )  # before the server: its errors are one sentence
        kept = stack.pop_all()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Gateway]:
        async with kept:
            yield gateway

    import uvicorn

    server = uvicorn.Server(_uvicorn(create_app(opened), serve))
    await server.serve()
    if not server.started:
        await kept.aclose()
        raise ConfigError(f"cannot listen at {serve.host}:{serve.port}; the line above says why")
    return 0


def _uvicorn(app: Any, serve: Any, **more: Any) -> uvicorn.Config:
    import uvicorn

    return uvicorn.Config(
        app,
        host=serve.host,
        port=serve.port,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=max(1, round(serve.grace)),
        **more,
    )


def _supervise(config: uvicorn.Config) -> None:
    """Run worker processes until told to stop; one that dies is replaced."""
    from uvicorn.supervisors import Multiprocess

    Multiprocess(config, sockets=[config.bind_socket()]).run()


async def _key(args: argparse.Namespace) -> int:
    from trim.server.auth import hash_of, new_secret

    if not args.name.isprintable() or '"' in args.name or "\\" in args.name:
        raise ConfigError(f"a key's name is plain text, not {args.name!r}")
    secret = new_secret()
    print(f'The key, shown once: {secret}\nAppend to the file of keys:\n\n[[key]]\nname = "{args.name}"')
    print(f'sha256 = "{hash_of(secret)}"')
    return 0
