"""Downloads; what a hub's answers mean is tested in test_gguf_hub.py."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import httpx
import pytest

from trim.backends.download import Remote, download
from trim.errors import ConfigError

CONTENT = b"0123456789" * 1000
REMOTE = Remote("model.gguf", "http://hub/model.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def fetched(target: Path, remote: Remote = REMOTE) -> list[str]:
    """Downloads from a server that knows ranges; the ranges that it was asked for."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range", ""))
        begin = int(asked[-1][6:-1]) if asked[-1] else 0
        return httpx.Response(206 if begin else 200, content=CONTENT[begin:])

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            await download(client, remote, target)

    asyncio.run(run())
    return asked


@pytest.mark.parametrize(
    ("partial", "ranges"),
    [
        (None, [""]),
        (CONTENT[:4000], ["bytes=4000-"]),
        (CONTENT, []),
        (CONTENT + b"more", [""]),  # of another file: begun anew
    ],
)
def test_what_is_there_is_not_fetched_again(tmp_path: Path, partial: bytes | None, ranges: list[str]) -> None:
    target = tmp_path / "deep" / "model.gguf"
    if partial is not None:
        target.parent.mkdir()
        target.with_name("model.gguf.partial").write_bytes(partial)
    assert fetched(target) == ranges
    assert target.read_bytes() == CONTENT
    assert [file.name for file in target.parent.iterdir()] == ["model.gguf"]


def test_what_an_earlier_try_left_may_be_wrong(tmp_path: Path) -> None:
    target = tmp_path / "model.gguf"
    target.with_name("model.gguf.partial").write_bytes(b"x" * 4000)
    with pytest.raises(ConfigError, match="SHA-256"):
        fetched(target)
    assert not target.exists()
    assert fetched(target) == [""]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    target = tmp_path / "model.gguf"
    with target.with_name("model.gguf.partial").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process"):
            fetched(target)
    fetched(target)


def test_a_cancelled_download_keeps_what_it_has(tmp_path: Path) -> None:
    target = tmp_path / "model.gguf"

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            yield CONTENT[:5000]
            await asyncio.sleep(60)

    async def run() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Slow()))
        async with httpx.AsyncClient(transport=transport) as client:
            await asyncio.wait_for(download(client, REMOTE, target), 0.3)

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert fetched(target) == ["bytes=5000-"]
    assert target.read_bytes() == CONTENT
