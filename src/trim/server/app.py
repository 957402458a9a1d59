"""The HTTP application of the gateway: its routes, and errors in OpenAI's shape on all of them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trim import __version__
from trim.off_loop import LARGE, off_loop
from trim.server.api_error import INTERNAL_ERROR, ApiError
from trim.server.cross_origin import CrossOrigin
from trim.server.endpoints import Endpoint, error_response
from trim.server.gateway import Gateway
from trim.server.http_1_0 import UnframedStreams
from trim.server.openapi import document
from trim.server.prometheus import CONTENT_TYPE
from trim.server.responses_request import ResponsesRequest
from trim.server.schemas import ChatRequest, CompletionRequest, TrimOptions
from trim.server.web_page import PAGE, POLICY, reference_page

PROBE_SECONDS = 5.0
_SWITCH_SECONDS = 0.001  # after which a thread that works on a large text lets the event loop go on; Python's own: 5 ms


def create_app(opened: Callable[[], AbstractAsyncContextManager[Gateway]]) -> Starlette:
    """The ASGI application.

    Args:
        opened: opens the gateway when the server starts and closes it when the server stops.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sys.setswitchinterval(_SWITCH_SECONDS)
        async with opened() as gateway:
            app.state.gateway = gateway
            try:
                yield
            finally:
                await gateway.drain()

    routes = [
        Route("/v1/chat/completions", Endpoint(ChatRequest), methods=["POST"]),
        Route("/v1/completions", Endpoint(CompletionRequest), methods=["POST"]),
        Route("/v1/responses", Endpoint(ResponsesRequest), methods=["POST"]),
        Route("/", _page),
        Route("/docs", _docs),
        Route("/v1/models", _models),
        Route("/v1/models/{model:path}", _model),
        Route("/v1/trim/recent", _recent),
        Route("/healthz", _healthz),
        Route("/readyz", _readyz),
        Route("/metrics", _metrics),
        Route("/openapi.json", _openapi),
    ]
    handlers: Any = {HTTPException: _http_error, ApiError: _api_error, Exception: _internal_error}
    middleware = [Middleware(UnframedStreams), Middleware(CrossOrigin)]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers, middleware=middleware)


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def _model_object(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "trim"}


async def _models(request: Request) -> Response:
    gateway = _gateway(request)
    gateway.keys.authenticate(request.headers.get("authorization"))
    return JSONResponse({"object": "list", "data": [_model_object(name) for name in gateway.models.names()]})


async def _model(request: Request) -> Response:
    gateway, name = _gateway(request), request.path_params["model"]
    gateway.keys.authenticate(request.headers.get("authorization"))
    gateway.models.choose(name)
    return JSONResponse(_model_object(name))


async def _page(request: Request) -> Response:
    return Response(PAGE, media_type="text/html", headers={"content-security-policy": POLICY})


async def _docs(request: Request) -> Response:
    page, policy = reference_page(document(), list(TrimOptions.model_fields))
    return Response(page, media_type="text/html", headers={"content-security-policy": policy})


async def _recent(request: Request) -> Response:
    gateway = _gateway(request)
    key = gateway.keys.authenticate(request.headers.get("authorization"))
    return await off_loop(LARGE, lambda: JSONResponse(gateway.summary(key)))  # may have thousands of steps


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok", "version": __version__})


async def _readyz(request: Request) -> Response:
    """Whether every backend works. One with a fallback (`on_error`) may be down."""
    gateway = _gateway(request)
    roles = gateway.backends.config.roles()
    found = {role.value: problem for role, problem in (await gateway.problems(PROBE_SECONDS)).items()}
    ready = all(problem is None or roles[role].on_error != "raise" for role, problem in found.items())
    if not gateway.settings.expose_upstream_errors:
        found = {role: problem and "it does not answer as it should" for role, problem in found.items()}
    body = {"ready": ready, "backends": {role: problem or "ok" for role, problem in found.items()}}
    return JSONResponse(body, 200 if ready else 503)


async def _metrics(request: Request) -> Response:
    return Response(_gateway(request).scrape(), headers={"content-type": CONTENT_TYPE})


async def _openapi(request: Request) -> Response:
    return JSONResponse(document())


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    response = error_response(ApiError(error.status_code, message[:500], code))
    response.headers.update(error.headers or {})
    return response


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _internal_error(request: Request, error: Exception) -> Response:
    return error_response(INTERNAL_ERROR)
