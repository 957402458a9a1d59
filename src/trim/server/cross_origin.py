"""Browsers: to which names of the gateway, and from which web pages, they may send requests, and who reads the answers
(CORS), by `[serve] allowed_hosts` and `cors_origins`.

A request of a page elsewhere that changes something is refused, whatever else it has; `read_body` refuses the kinds
of bodies that a browser would send for such a page without a preflight request.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from trim.server.allowed_hosts import AllowedHosts, HostName
from trim.server.api_error import ApiError
from trim.server.endpoints import error_response
from trim.server.gateway import Gateway

_EXPOSED = (
    *("x-request-id", "retry-after", "x-should-retry"),
    *(f"x-trim-{name}" for name in ("policy", "parameter", "ignored", "strong-share", "cost")),
    *(f"x-trim-{name}-tokens" for name in ("weak", "strong", "discarded")),
    "x-trim-fallbacks",
)
_SECONDS = 3600  # that a browser may remember the answer to a preflight request
_READING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
_FOR_ALL = ("/healthz", "/readyz")  # load balancers ask under any name, and a page learns nothing from it
_ELSEWHERE = ("cross-site", "same-site")


class CrossOrigin:
    """Answers preflight requests, which carry no API key, lets pages of the configured origins read responses, and
    refuses what a page has no right to send.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. The origins are known only once the gateway is open."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        gateway = scope["app"].state.gateway
        assert isinstance(gateway, Gateway)
        serve = gateway.settings
        allowed = AllowedHosts(serve.host, serve.allowed_hosts, serve.cors_origins)
        app: ASGIApp = _Guarded(self._app, gateway, allowed)
        if serve.cors_origins:
            methods = ("GET", "POST")
            app = CORSMiddleware(app, serve.cors_origins, methods, ["*"], expose_headers=_EXPOSED, max_age=_SECONDS)
        await app(scope, receive, send)


class _Guarded:
    """An application that gets only what may come."""

    def __init__(self, app: ASGIApp, gateway: Gateway, allowed: AllowedHosts) -> None:
        self._app = app
        self._gateway = gateway
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["path"] not in _FOR_ALL:
                check_sender(scope["method"], Headers(scope=scope), self._allowed)
        except ApiError as error:
            self._gateway.metrics.rejected.labels(error.status).inc()
            await error_response(error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def check_sender(method: str, headers: Headers, allowed: AllowedHosts) -> None:
    """Whether no page elsewhere can be behind a request.

    Args:
        method: of the request.
        headers: of the request.
        allowed: hosts and origins.

    Raises:
        ApiError: 403, the host is not one of the gateway's names, or the page is not allowed to send this.
    """
    hosts = headers.getlist("host")  # none: HTTP/1.0, which no browser speaks
    host = HostName.parse(hosts[0]) if len(hosts) == 1 else None
    if hosts and (host is None or not allowed.allow_host(host)):
        name = "the Host header" if host is None else f"host {host.name[:100]!r}"
        words = f"{name} is no name of this gateway; its owner may add it to [serve] allowed_hosts"
        raise ApiError(403, words, "host_not_allowed", kind="permission_error")
    if method in _READING:
        return
    for origin in headers.getlist("origin"):
        if not allowed.allow_origin(origin, host):
            words = f"origin {origin[:100]!r} may not send requests; the gateway's owner may add it to cors_origins"
            raise ApiError(403, words, "origin_not_allowed", kind="permission_error")
    if "origin" not in headers and headers.get("sec-fetch-site", "").strip().lower() in _ELSEWHERE:
        raise ApiError(403, "a page of another site may not send this", "origin_not_allowed", kind="permission_error")
