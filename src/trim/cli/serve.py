"""`trim serve`: step routing behind OpenAI's API."""

from __future__ import annotations

import argparse
import logging
import signal
from importlib.util import find_spec

from trim.cli.options import config_option, config_path, count, say_judge
from trim.errors import MissingExtra
from trim.redaction import RedactingFormatter

_DESCRIPTION = """\
Serves step routing behind OpenAI's API: change the base URL in the client
that you already use. Without a trim.toml the shipped models answer, without
GPU or network. More settings are in [serve] of the configuration
(docs/how-to/use-the-gateway.md).

examples:
  trim serve
  trim serve --config trim.toml --host 0.0.0.0 --keys keys.toml --record traces
  trim serve --weak ollama/qwen2.5:1.5b --strong openai/gpt-4.1-mini
  q="A loaf of sourdough at the bakery costs \\$8. biscuits cost \\$5 each. \\
How much more do 10 loaves of sourdough cost than 10 biscuits?"
  curl localhost:8080/v1/chat/completions -H 'content-type: application/json' \\
       -d '{"model": "trim-threshold-0.8", "stream": true,
            "messages": [{"role": "user", "content": "'"$q"'"}]}'
"""


def register(serve: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    serve.description = _DESCRIPTION
    config_option(serve)
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="0: any free one (default: 8080)")
    serve.add_argument("--workers", type=count, default=1, help="processes that serve together (default: 1)")
    serve.add_argument("--keys", metavar="keys.toml", help="API keys (default: none needed)")
    serve.add_argument(
        "--insecure", action="store_true", default=None, help="allow a --host that other machines reach, without keys"
    )
    serve.add_argument("--record", metavar="DIR", help="record traces, for trim fit and calibrate")
    serve.add_argument(
        "--state", metavar="STATE", help="SQLite file or postgresql:// URL that keeps spend and target shares"
    )
    serve.set_defaults(run=_serve)


async def _serve(args: argparse.Namespace) -> int:
    for package in ("starlette", "uvicorn", "prometheus_client", "pydantic"):
        if find_spec(package) is None:
            raise MissingExtra(package, "serve")
    from trim.config.loading import load_config
    from trim.server.run import Overrides, run, run_workers

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the server's own handlers let running requests finish
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(asctime)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for library in ("httpx", "httpx2"):  # the openai SDK's HTTP library, by version
        logging.getLogger(library).setLevel(logging.WARNING)
    given = {name: value for name in Overrides.__annotations__ if (value := vars(args)[name]) is not None}
    overrides = Overrides(**given)  # type: ignore[typeddict-item]  # argparse has checked their types
    models = {"weak": args.weak, "strong": args.strong, "judge": args.judge}
    config = config_path(args)
    say_judge(load_config(config, models=models))
    if args.workers > 1:
        run_workers(config, overrides, args.workers, models)
    else:
        await run(config, overrides, models)
    return 0
