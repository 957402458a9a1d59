"""A file from the web: with progress, resumed where an earlier try stopped, checked, and there whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trim.errors import ConfigError

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("trim.local")

_TRIES = 5  # in a row that bring nothing
_PAUSE = 1.0  # seconds before the second try; doubled each time
_BETWEEN_LINES = 30.0  # seconds between two lines of progress where there is no terminal


@dataclass(frozen=True)
class Remote:
    """A file to be had.

    Args:
        name: what progress and errors call it.
        url: where it is.
        size: in bytes.
        sha256: of its content, in hexadecimal; None: not known.
    """

    name: str
    url: str
    size: int
    sha256: str | None


async def download(client: httpx.AsyncClient, remote: Remote, target: Path) -> None:
    """Bring a file to `target`, which is there afterwards with the expected content; what an earlier try brought lies
    in a `.partial` file beside it and is not fetched again.

    Raises:
        ConfigError: it cannot be had, or is another one than expected; says what to do.
        OSError: the disk.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    with partial.open("ab") as file:
        _lock(file.fileno(), target)
        if file.tell() > remote.size:
            file.truncate(0)
        _check_room(partial, remote.size - os.fstat(file.fileno()).st_size)
        with _progress(remote, os.fstat(file.fileno()).st_size) as advance:
            await _fetch(client, remote, file.fileno(), advance)
        os.fsync(file.fileno())
    if remote.sha256 is not None and await asyncio.to_thread(_digest, partial) != remote.sha256:
        partial.unlink()
        raise ConfigError(f"{remote.name}: what came is not the expected file (its SHA-256 differs): try again")
    partial.replace(target)


async def _fetch(client: httpx.AsyncClient, remote: Remote, file: int, advance: Callable[[int], None]) -> None:
    """The rest of the file, in as many requests as that takes."""
    tries = 0
    while (begin := os.fstat(file).st_size) < remote.size:
        problem = await _request(client, remote, file, advance)
        size = os.fstat(file).st_size
        tries = 0 if size > begin else tries + 1
        if size < remote.size and tries >= _TRIES:
            raise ConfigError(f"{remote.name} cannot be downloaded: {problem}: run the command again, it will go on")
        if size < remote.size:
            await asyncio.sleep(min(_PAUSE * 2.0**tries, 30.0) if tries else 0.0)


async def _request(client: httpx.AsyncClient, remote: Remote, file: int, advance: Callable[[int], None]) -> str:
    """Append what one request brings; what ended it, in words."""
    import httpx

    size = os.fstat(file).st_size
    try:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
        async with client.stream("GET", remote.url, headers=headers) as answer:
            if answer.status_code == 200 and size:  # the server knows no ranges
                os.ftruncate(file, 0)
                advance(-size)
            elif answer.status_code not in (200, 206):
                return refusal(answer)
            async for block in answer.aiter_bytes():
                os.write(file, block)
                advance(len(block))
    except httpx.HTTPError as error:
        return f"{type(error).__name__} {error}".strip()
    return "the server sent less than it said" if os.fstat(file).st_size < remote.size else ""


def refusal(answer: httpx.Response) -> str:
    """What a server's answer means that is none.

    Raises:
        ConfigError: that will not change by trying again.
    """
    words = f"{answer.url.host} answered with HTTP {answer.status_code}"
    if answer.status_code in (408, 416, 425, 429) or answer.status_code >= 500:
        return words
    raise ConfigError(f"{words} for {answer.url.path}")


def _lock(file: int, target: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{target} is being downloaded by another process: wait for it") from None
    except OSError:  # a disk without locks
        return


def _check_room(partial: Path, needed: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if needed > free:
        raise ConfigError(
            f"{partial.parent} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB more are needed: make room, or "
            "set TRIM_CACHE to a folder on another disk"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _progress(remote: Remote, done: int) -> Iterator[Callable[[int], None]]:
    """A bar with the time that is left on a terminal, else a line now and then; gives what is called with the bytes
    that came.
    """
    if not sys.stderr.isatty():
        yield _Lines(remote, done).advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(None), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(remote.name, total=remote.size, completed=done)
        yield lambda count: bar.advance(task, count)


class _Lines:
    """Progress where there is no terminal."""

    def __init__(self, remote: Remote, done: int) -> None:
        self._remote, self._done, self._first = remote, done, done
        self._started = self._said = time.monotonic()
        kept = f", {done / 1e9:.2f} GB of it are here" if done else ""
        logger.info("downloading %s (%.2f GB%s)", remote.name, remote.size / 1e9, kept)

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._said < _BETWEEN_LINES or self._done <= self._first:
            return
        self._said = now
        rate = (self._done - self._first) / (now - self._started)
        left = (self._remote.size - self._done) / rate
        logger.info("%s: %.0f%%, %.0f s left", self._remote.name, 100 * self._done / self._remote.size, left)
