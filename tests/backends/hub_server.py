"""A real HTTP server that behaves as the Hugging Face hub does where files are listed and downloaded."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.backends.fake_server import listening

COMMIT = "0123456789abcdef"
TOKEN = "hf_secret"


@dataclass
class Hub:
    """A hub with one repository.

    Args:
        files: content by name.
        repo: its name.
        private: who has no token is told that there is no such repository.
        gated: nobody has accepted the licence.
        status: of every answer of the list of files; 200: the list.
        page: what is answered instead of the list.
        breaks: bytes after which a download breaks off, one for each request.
        ranges: whether the rest of a file can be asked for.
        checksums: by name, in place of the right ones.
    """

    files: dict[str, bytes]
    repo: str = "owner/model-GGUF"
    private: bool = False
    gated: bool = False
    status: int = 200
    page: str = ""
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    checksums: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    asked_ranges: list[str] = field(default_factory=list)
    tokens_at_store: list[str] = field(default_factory=list)
    url: str = ""

    async def listed(self, request: Request) -> Response:
        """`GET /api/models/OWNER/REPO`."""
        self.requests.append(request.url.path)
        allowed = not self.private or request.headers.get("authorization") == f"Bearer {TOKEN}"
        if self.status != 200:
            return Response(status_code=self.status)
        if request.path_params["repo"] != self.repo or not allowed:
            return JSONResponse({"error": "Invalid username or password."}, 401)
        if self.gated:
            return JSONResponse({"error": "Access to model is restricted."}, 403)
        if self.page:
            return Response(self.page, media_type="text/html")
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()} | self.checksums
        siblings = [
            {"rfilename": name, "size": len(content), "lfs": {"sha256": digests[name], "size": len(content)}}
            for name, content in self.files.items()
        ]
        return JSONResponse(
            {"id": self.repo, "sha": COMMIT, "siblings": [{"rfilename": "README.md", "size": 1}, *siblings]}
        )

    async def resolved(self, request: Request) -> Response:
        """`GET /OWNER/REPO/resolve/COMMIT/FILE`: large files lie at another address."""
        self.requests.append(request.url.path)
        assert request.path_params["commit"] == COMMIT
        return RedirectResponse(
            f"{self.url.replace('127.0.0.1', 'localhost')}/store/{request.path_params['file']}", 302
        )

    async def stored(self, request: Request) -> Response:
        """The content, or the part of it that is asked for."""
        self.tokens_at_store.append(request.headers.get("authorization", ""))
        asked = request.headers.get("range", "")
        self.asked_ranges.append(asked)
        content = self.files[request.path_params["file"]]
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        rest = content[begin:]
        end = self.breaks.pop(0) if self.breaks else len(rest)
        headers = {"content-length": str(len(rest))}
        return StreamingResponse(_sent(rest, end), 206 if begin else 200, headers)


async def _sent(content: bytes, end: int) -> AsyncIterator[bytes]:
    yield content[:end]
    if end < len(content):
        raise ConnectionAbortedError  # the server drops the connection


@contextmanager
def hub(files: dict[str, bytes], **switches: object) -> Iterator[Hub]:
    """A hub on a free port."""
    made = Hub(files, **switches)  # type: ignore[arg-type]  # the switches are its fields
    routes = [
        Route("/api/models/{repo:path}", made.listed),
        Route("/store/{file:path}", made.stored),
        Route("/{owner}/{name}/resolve/{commit}/{file:path}", made.resolved),
    ]
    with listening(Starlette(routes=routes)) as url:
        made.url = url
        yield made
