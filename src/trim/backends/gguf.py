"""GGUF files in this process: llama.cpp's own server from the `xllamacpp` wheel, on a free port of this machine.

A server lives in threads of this process and ends with it. Requests go through the same client as to any other
llama-server, so streaming, counts and log-probabilities are the same. `serving` starts one for each distinct file,
however many roles use it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trim.backends.gguf_sizing import GgufFile, Size, sizes
from trim.backends.machine import this_machine
from trim.errors import ConfigError, MissingExtra

logger = logging.getLogger("trim.local")

_MAGIC = b"GGUF"
_ROLES = ("weak", "strong", "judge")
BATCH = 512
"""Prompt tokens that are read at once; a request that was given up ends after them."""


class LlamaServer:
    """llama.cpp's server for one GGUF file, loaded and listening when this returns.

    Args:
        path: the GGUF file, of several parts the first.
        context: tokens that one request can read and write.
        slots: requests that are served at the same time; each has `context` tokens of its own.
        threads: that compute; None: one for each core.
        spare: megabytes in which the server keeps what idle slots had read.

    `base_url` ends in `/v1`. `api_key` is made anew for each server, so that nobody else on the machine can use it.

    Raises:
        MissingExtra: xllamacpp is not installed.
        ConfigError: the file is not there, is no GGUF file, or llama.cpp cannot load it.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int = 4096,
        slots: int = 4,
        threads: int | None = None,
        spare: int = 256,
    ) -> None:
        require_engine()
        import xllamacpp

        check_file(path)
        self.path = path
        self.context = context
        self.slots = slots
        self.threads = threads or this_machine().cores
        self.api_key = secrets.token_hex(16)
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0
        parameters.api_keys = [self.api_key]
        parameters.n_ctx = context * slots
        parameters.n_parallel = slots
        parameters.n_batch = BATCH
        parameters.cache_ram_mib = spare
        for threading in (parameters.cpuparams, parameters.cpuparams_batch):
            threading.n_threads = self.threads
            threading.poll = (
                0  # where llama.cpp has threads of its own, those that wait sleep; for OpenMP see require_engine
            )
        parameters.endpoint_metrics = True
        parameters.ui = False
        parameters.verbosity = 0
        try:
            self._server: Any = xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise ConfigError(f"{path}: llama.cpp cannot load it: {error}") from None
        self.base_url = f"{self._server.listening_address}/v1"

    def close(self) -> None:
        """Stop serving and free the model's memory. Connections must be closed before: what is still being answered is
        waited for.
        """
        self._server = None


@dataclass(frozen=True)
class Wanted:
    """A file that is to be served.

    Args:
        role: that it is for: weak, strong or judge; of several, "weak and judge".
        path: the file, of several parts the first.
        threads, slots, context: as configured; None: chosen from the machine and the model.
    """

    role: str
    path: Path
    threads: int | None = None
    slots: int | None = None
    context: int | None = None


@dataclass
class _Shared:
    server: LlamaServer
    weights: int
    users: int = 0


_running: dict[Path, _Shared] = {}  # by resolved path


@asynccontextmanager
async def serving(wanted: Sequence[Wanted]) -> AsyncIterator[None]:
    """Serve these files while this is open, each once; those that are served already are not loaded again. Loading a
    file holds the whole process.

    Raises:
        MissingExtra: xllamacpp is not installed.
        ConfigError: a file cannot be served, or all of them do not fit into memory; nothing was loaded then.
    """
    held: list[Path] = []
    try:
        for path in _started(_merged(wanted)):
            _running[path].users += 1
            held.append(path)
            await asyncio.sleep(0)  # Ctrl-C is answered between two files
        yield
    finally:
        for path in reversed(held):
            shared = _running[path]
            shared.users -= 1
            if not shared.users:
                del _running[path]
                shared.server.close()


def running(path: Path) -> LlamaServer | None:
    """The server of a file, if there is one."""
    shared = _running.get(path.resolve())
    return None if shared is None else shared.server


def require_engine() -> None:
    """Import it, with threads that sleep while they wait for others: two models share the cores, and one's spinning
    threads would take them from the other. OpenMP reads its variable once; where it is set already, it stays.

    Raises:
        MissingExtra: xllamacpp is not installed.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import xllamacpp  # noqa: F401
    except ImportError:
        raise MissingExtra("xllamacpp", "local") from None


def check_file(path: Path) -> None:
    """Raises:
    ConfigError: it is not there, or no GGUF file.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give the path of a GGUF file")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ConfigError(f"{path} is not a GGUF file")


def _merged(wanted: Sequence[Wanted]) -> list[Wanted]:
    """One for each file: what one of its roles asks for, all get."""
    found: dict[Path, Wanted] = {}
    for one in wanted:
        path = one.path.resolve()
        other = found.get(path)
        if other is None:
            found[path] = Wanted(one.role, path, one.threads, one.slots, one.context)
            continue
        asked = (
            max((n for n in pair if n is not None), default=None)
            for pair in zip(
                (one.threads, one.slots, one.context), (other.threads, other.slots, other.context), strict=True
            )
        )
        roles = sorted({*other.role.split(" and "), *one.role.split(" and ")}, key=_ROLES.index)
        found[path] = Wanted(" and ".join(roles), path, *asked)
    return list(found.values())


def _started(wanted: Sequence[Wanted]) -> Iterator[Path]:
    """The files one by one, as soon as they are served."""
    new = [one for one in wanted if one.path not in _running]
    if new:
        require_engine()
    for one in new:
        check_file(one.path)
    machine = this_machine()
    files = [GgufFile.read(one.role, one.path) for one in new]
    asked = [(one.threads, one.slots, one.context) for one in new]
    taken = sum(shared.weights for shared in _running.values())
    found = dict(zip((one.path for one in new), sizes(files, asked, machine, taken), strict=True))
    for one in wanted:
        if one.path in found:
            size = found[one.path]
            logger.info("gguf: %s", size.words())
            _running[one.path] = _Shared(_start(one.path, size), size.file.weights)
        yield one.path


def _start(path: Path, size: Size) -> LlamaServer:
    return LlamaServer(path, context=size.context, slots=size.slots, threads=size.threads, spare=size.spare)
