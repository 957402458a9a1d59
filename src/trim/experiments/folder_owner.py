"""One process at a time works in a folder of results; a second one is refused and told whose it is."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from trim.errors import ConfigError
from trim.file_locks import try_lock
from trim.json_files import checked, parse_json

FILE = ".owner.json"


@dataclass(frozen=True)
class Owner:
    """A process that works in a folder; `started` is the local time at which it began."""

    pid: int
    host: str
    started: str

    @classmethod
    def here(cls) -> Self:
        """The process that asks."""
        return cls(os.getpid(), platform.node(), datetime.now().astimezone().isoformat(" ", "seconds"))


@contextmanager
def owned(folder: Path, problem: str = "cannot be made") -> Iterator[None]:
    """Make a folder and work in it alone: the operating system holds a lock for as long as this process lives, and a
    file says whose it is.

    What a process that died has left is taken over, also if another process has its number by now.

    Args:
        folder: of results.
        problem: what is said of it where it cannot be made.

    Raises:
        ConfigError: it cannot be made or written, or another process works in it.
    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _locked(path)
    except OSError as error:
        raise ConfigError(f"{folder} {problem}: {error.strerror}") from None
    try:
        yield
    finally:
        with suppress(OSError):  # the folder may be gone, or no longer writable
            path.unlink()
        os.close(file)


def _locked(path: Path) -> int:
    """The open file, with the lock held and this process named in it.

    Raises:
        OSError: it cannot be opened or written.
        ConfigError: another process has the lock, or one of another host is named.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            alone = try_lock(file)
            if alone is None or _is(file, path):
                earlier = _read(file)
                if alone is False or (earlier and (alone is None or earlier.host != platform.node())):
                    raise ConfigError(_refusal(path, earlier, alone))
                os.ftruncate(file, 0)
                os.write(file, json.dumps(asdict(Owner.here())).encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its owner removed it in this moment


def _is(file: int, path: Path) -> bool:
    """Whether the open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _read(file: int) -> Owner | None:
    try:
        content = os.read(file, 10_000)
        os.lseek(file, 0, os.SEEK_SET)
        return checked(Owner, parse_json(content))
    except ValueError:  # nothing, or what a kill left
        return None


def _refusal(path: Path, owner: Owner | None, alone: bool | None) -> str:
    """What is said to a process that comes second."""
    if owner is None:
        return f"{path.parent} is in use by another process: wait for it, or choose another folder"
    if owner.host == platform.node() and alone is False:
        words = f"process {owner.pid} since {owner.started}"
        return f"{path.parent} is in use by {words}: wait for it, or choose another folder"
    words = f"process {owner.pid} on {owner.host} since {owner.started}"
    return f"{path.parent} is in use by {words}: wait for it, or remove {path} if that process has ended"
