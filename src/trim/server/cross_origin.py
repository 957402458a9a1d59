"""Cross-origin requests (CORS): which web pages may call the gateway from a browser, by `[serve] cors_origins`."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from trim.server.gateway import Gateway

_EXPOSED = (
    *("x-request-id", "retry-after", "x-should-retry"),
    *(f"x-trim-{name}" for name in ("policy", "parameter", "ignored", "strong-share", "cost")),
    *(f"x-trim-{name}-tokens" for name in ("weak", "strong", "discarded")),
    "x-trim-fallbacks",
)
_SECONDS = 3600  # that a browser may remember the answer to a preflight request


class CrossOrigin:
    """Answers preflight requests, which carry no API key, and lets pages of the configured origins read responses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. The origins are known only once the gateway is open."""
        app = self._app
        if scope["type"] == "http":
            gateway = scope["app"].state.gateway
            assert isinstance(gateway, Gateway)
            if origins := gateway.settings.cors_origins:
                methods = ("GET", "POST")
                app = CORSMiddleware(app, origins, methods, ["*"], expose_headers=_EXPOSED, max_age=_SECONDS)
        await app(scope, receive, send)
