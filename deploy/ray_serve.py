"""Replicas of the gateway under Ray Serve, which balances requests over them and replaces those that die.

    pip install '.[serve]' 'ray[serve]'             # from the root of a clone
    serve run deploy.ray_serve:gateway config=deploy/trim.toml replicas=2     # http://localhost:8000/v1

Ray Serve's proxy listens, by default at this machine's loopback address alone, so [serve] host and port mean nothing
here. Files that the configuration names (keys, state, record) are those of a replica's own machine; TRIM_SERVE__KEYS
and the like name others.
"""

from __future__ import annotations

from pathlib import Path

from ray import serve
from starlette.applications import Starlette

from trim.config.loading import load_config
from trim.server.app import create_app
from trim.server.gateway import open_gateway


def gateway(args: dict[str, str]) -> serve.Application:
    """The application; `config` is a file (none: the shipped models), `replicas` their number."""
    config = load_config(Path(args["config"]) if "config" in args else None)

    def app() -> Starlette:
        return create_app(lambda: open_gateway(config))

    deployment = serve.deployment(
        serve.ingress(app)(),
        name="trim",
        num_replicas=int(args.get("replicas", "1")),
        # Requests wait in the gateway, which returns 429 when its queue is full.
        max_ongoing_requests=config.serve.max_requests + config.serve.queue + 1,
        graceful_shutdown_timeout_s=config.serve.grace,
    )
    return deployment.bind()
