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
    """What a server answers, a reply a request, the last one for all that follow; and what it was asked.

    `headers` and `paths` are those of the requests, the path without what stands before the script's base;
    `broken_off`: answers that were not read to their end.
    """

    replies: Sequence[Answering]
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    broken_off: int = 0


class ScriptedServer:
    """All scripts behind one port."""

    def __init__(self) -> None:
        self.url = ""
        self._scripts: dict[str, Script] = {}

    def add(self, replies: Sequence[Answering], base: str = "/v1") -> Script:
        """A new script; its `url` ends in `base`."""
        name = str(len(self._scripts))
        self._scripts[name] = script = Script(replies, url=f"{self.url}/{name}{base}")
        return script

    async def answer(self, request: Request) -> Response:
        script = self._scripts[request.path_params["name"]]
        if request.url.path.endswith(("/tokenize", "/detokenize")):  # of vLLM's; the scripted one has none
            return JSONResponse({"detail": "Not Found"}, 404)
        body = await request.json()
        script.requests.append(body)
        script.headers.append(dict(request.headers))
        script.paths.append("/" + request.path_params["path"])
        reply = script.replies[min(len(script.requests), len(script.replies)) - 1]
        if not isinstance(reply, Reply):
            reply = reply(script.requests[-1])
        return StreamingResponse(self._pieces(reply, script), reply.status, reply.headers, media_type=reply.kind)

    @staticmethod
    async def _pieces(reply: Reply, script: Script) -> AsyncIterator[bytes]:
        whole = False
        try:
            async for piece in reply.pieces():
                yield piece
            whole = True
        finally:
            script.broken_off += not whole

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "m"}]})


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """The server, listening."""
    server = ScriptedServer()
    routes = [
        Route("/{name}/v1/models", server.models),
        Route("/{name}/{path:path}", server.answer, methods=["POST"]),
    ]
    with listening(Starlette(routes=routes)) as server.url:
        yield server
