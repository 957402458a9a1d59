"""A real HTTP server on loopback that sends what it is told, byte for byte. Each script has an address of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.backends.fake_server import listening


@dataclass(frozen=True)
class Reply:
    """One response.

    Args:
        body: pieces, sent one by one.
        status, kind, headers: of the response.
        every: seconds between two pieces.
    """

    body: Sequence[bytes]
    status: int = 200
    kind: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)
    every: float = 0.0

    async def pieces(self) -> AsyncIterator[bytes]:
        for piece in self.body:
            yield piece
            await asyncio.sleep(self.every)


def said(status: int, value: object, **headers: str) -> Reply:
    """A JSON response."""
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply([json.dumps(value).encode()], status, "application/json", names)


Answering = Reply | Callable[[dict[str, Any]], Reply]
"""A reply, or what makes one for a request."""


@dataclass
class Script:
    """What a server answers, a reply a request, the last one for all that follow; and what it was asked."""

    replies: Sequence[Answering]
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


class ScriptedServer:
    """All scripts behind one port."""

    def __init__(self) -> None:
        self.url = ""
        self._scripts: dict[str, Script] = {}

    def add(self, replies: Sequence[Answering]) -> Script:
        """A new script; its `url` ends in `/v1`."""
        name = str(len(self._scripts))
        self._scripts[name] = script = Script(replies, url=f"{self.url}/{name}/v1")
        return script

    async def answer(self, request: Request) -> Response:
        script = self._scripts[request.path_params["name"]]
        script.requests.append(await request.json())
        reply = script.replies[min(len(script.requests), len(script.replies)) - 1]
        if not isinstance(reply, Reply):
            reply = reply(script.requests[-1])
        return StreamingResponse(reply.pieces(), reply.status, reply.headers, media_type=reply.kind)

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "m"}]})


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """The server, listening."""
    server = ScriptedServer()
    routes = [
        Route("/{name}/v1/models", server.models),
        Route("/{name}/v1/completions", server.answer, methods=["POST"]),
        Route("/{name}/v1/chat/completions", server.answer, methods=["POST"]),
    ]
    with listening(Starlette(routes=routes)) as server.url:
        yield server
