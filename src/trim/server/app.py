"""The gateway's HTTP application: routes, and errors in OpenAI's shape on all of them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trim import __version__
from trim.config.settings import Config, load_config
from trim.protocols import Backend
from trim.server.endpoints import INTERNAL, Endpoint, refuse
from trim.server.gateway import Gateway, open_gateway
from trim.server.openapi import document
from trim.server.prometheus import CONTENT_TYPE
from trim.server.schemas import ChatRequest, CompletionRequest, Refusal
from trim.server.web_page import PAGE, POLICY

_SETTINGS = "TRIM_SERVE"  # environment variable by which worker processes get their settings
PROBE_SECONDS = 5.0


def create_app(opened: Callable[[], AbstractAsyncContextManager[Gateway]]) -> Starlette:
    """The application.

    Args:
        opened: opens the gateway when the server starts; it is closed when the server stops.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with opened() as gateway:
            app.state.gateway = gateway
            yield

    routes = [
        Route("/v1/chat/completions", Endpoint(ChatRequest), methods=["POST"]),
        Route("/v1/completions", Endpoint(CompletionRequest), methods=["POST"]),
        Route("/", _page),
        Route("/v1/models", _models),
        Route("/v1/models/{model:path}", _model),
        Route("/v1/trim/recent", _recent),
        Route("/healthz", _healthz),
        Route("/readyz", _readyz),
        Route("/metrics", _metrics),
        Route("/openapi.json", _openapi),
    ]
    handlers: Any = {HTTPException: _http_error, Refusal: _refused, Exception: _bug}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


def settings_for_workers(config: Path | None, changes: dict[str, Any]) -> dict[str, str]:
    """The environment from which `from_environment` makes the same application in a process of its own."""
    return {_SETTINGS: json.dumps({"config": None if config is None else str(config), "changes": changes})}


def from_environment() -> Starlette:
    """The application of a worker process."""
    told = json.loads(os.environ[_SETTINGS])
    config = load_config(Path(told["config"]) if told["config"] else None)
    return create_app(lambda: open_gateway(with_changes(config, told["changes"])))


def with_changes(config: Config, changes: dict[str, Any]) -> Config:
    """The configuration with other settings in `[serve]`."""
    return replace(config, serve=replace(config.serve, **changes))


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def _described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "trim"}


async def _models(request: Request) -> Response:
    gateway = _gateway(request)
    gateway.keys.who(request.headers.get("authorization"))
    return JSONResponse({"object": "list", "data": [_described(name) for name in gateway.models.names()]})


async def _model(request: Request) -> Response:
    gateway, name = _gateway(request), request.path_params["model"]
    gateway.keys.who(request.headers.get("authorization"))
    gateway.models.choose(name)
    return JSONResponse(_described(name))


async def _page(request: Request) -> Response:
    return Response(PAGE, media_type="text/html", headers={"content-security-policy": POLICY})


async def _recent(request: Request) -> Response:
    gateway = _gateway(request)
    return JSONResponse(gateway.summary(gateway.keys.who(request.headers.get("authorization"))))


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok", "version": __version__})


async def _readyz(request: Request) -> Response:
    """Whether every backend answers. One that another role stands in for does not count."""
    gateway = _gateway(request)
    roles = gateway.backends.config.roles()
    models = (gateway.backends.weak, gateway.backends.strong, gateway.backends.prm)
    problems = await asyncio.gather(*(_problem(model) for model in models))
    found = dict(zip(roles, problems, strict=True))
    ready = all(problem is None or roles[role].on_error != "raise" for role, problem in found.items())
    body = {"ready": ready, "backends": {role: problem or "ok" for role, problem in found.items()}}
    return JSONResponse(body, 200 if ready else 503)


async def _problem(backend: Backend) -> str | None:
    """Why a backend cannot be reached; None: it can."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            found = await backend.probe(quick=True)
    except TimeoutError:
        return f"{backend.identity}: no answer within {PROBE_SECONDS:g} s"
    return None if found.reachable else found.problem or f"{backend.identity} cannot be reached"


async def _metrics(request: Request) -> Response:
    return Response(_gateway(request).scrape(), headers={"content-type": CONTENT_TYPE})


async def _openapi(request: Request) -> Response:
    return JSONResponse(document())


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = f"{request.method} {request.url.path}: {error.detail}"
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    response = refuse(Refusal(error.status_code, words[:500], code))
    response.headers.update(error.headers or {})
    return response


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refuse(error)


async def _bug(request: Request, error: Exception) -> Response:
    return refuse(INTERNAL)
