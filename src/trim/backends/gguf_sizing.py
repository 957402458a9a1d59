"""How a GGUF file is served on this machine: threads, requests at the same time, tokens of each, and memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trim.backends.machine import Machine
from trim.errors import ConfigError
from trim.gguf_head import GgufModel, read_gguf_model

_SLOTS, _CONTEXTS = (4, 2, 1), (8192, 4096, 2048)  # the first that fits is taken, context before slots
_BATCH = 512  # tokens whose logits are held at the same time
_OVERHEAD = 100_000_000  # bytes that llama.cpp takes besides
_RESERVE = 200_000_000  # bytes that stay free
_LARGEST_SPARE = 1024  # megabytes
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")

Asked = tuple[int | None, int | None, int | None]
"""Threads, slots and context as configured; None: to be chosen."""


@dataclass(frozen=True)
class GgufFile:
    """A file that is to be served. `role`: for whom, such as "strong and judge"; `weights`: bytes of all its parts."""

    role: str
    path: Path
    model: GgufModel
    weights: int

    @classmethod
    def read(cls, role: str, path: Path) -> GgufFile:
        """From the file's head.

        Raises:
            ConfigError: it is cut off, no language model, or one of its parts is not there.
        """
        model = read_gguf_model(path)
        if not model.architecture or not model.vocabulary:
            raise ConfigError(f"{_table(role)} {path} holds no language model")
        files = parts(path, model.parts)
        if missing := [file for file in files if not file.is_file()]:
            raise ConfigError(
                f"{_table(role)} {path} is one of {len(files)} parts, and {missing[0].name} is not beside it"
            )
        return cls(role, path, model, sum(file.stat().st_size for file in files))

    @property
    def name(self) -> str:
        """The file's name without what all have."""
        return _PART.sub("", self.path.name).removesuffix(".gguf")

    @property
    def fixed(self) -> int:
        """Bytes that are needed whatever is read."""
        return self.weights + _BATCH * self.model.vocabulary * 4 + _OVERHEAD


@dataclass(frozen=True)
class Size:
    """How a file is served. `spare`: megabytes in which what idle slots had read is kept."""

    file: GgufFile
    threads: int
    slots: int
    context: int
    spare: int = 0

    @property
    def cache(self) -> int:
        """Bytes of the cache of keys and values."""
        return self.file.model.token_bytes * self.slots * self.context

    def words(self) -> str:
        """In one line."""
        threads, slots = (f"{n} {what}{'s' * (n != 1)}" for n, what in ((self.threads, "thread"), (self.slots, "slot")))
        return (
            f"{self.file.role} {self.file.name} ({gigabytes(self.file.weights, 2)}), {threads}, {slots} of "
            f"{self.context:,} tokens, {gigabytes(self.cache)} of memory for context"
        )


def parts(path: Path, count: int) -> list[Path]:
    """The files of a model that is split into so many, `...-00001-of-0000N.gguf` and so on."""
    match = _PART.search(path.name)
    if match is None:
        return [path]
    stem = path.name[: match.start()]
    return [path.with_name(f"{stem}-{part:05d}-of-{match[2]}.gguf") for part in range(1, max(count, int(match[2])) + 1)]


def sizes(files: Sequence[GgufFile], asked: Sequence[Asked], machine: Machine, taken: int = 0) -> list[Size]:
    """How to serve all these files at the same time. Each may compute on all cores, since threads that wait sleep.

    Args:
        files: to be served.
        asked: what is configured, for each.
        machine: to serve them on.
        taken: bytes of weights of files that are served already: the system counts them as free, since it could read
            them again.

    Raises:
        ConfigError: they do not fit into memory, or more is asked for than a model can.
    """
    free = machine.free - taken - _RESERVE
    room = free - sum(file.fixed for file in files)
    found = []
    for file, (threads, slots, context) in zip(files, asked, strict=True):
        _check_context(file, context)
        found.append(_chosen(file, threads or machine.cores, slots, context, room // (2 * len(files))))
    needed = sum(size.file.fixed + size.cache for size in found)
    if needed > free:
        raise ConfigError(_too_large(found, needed, max(free, 0), machine))
    left = (free - needed) // (4 * max(len(found), 1) * 1_000_000)
    return [Size(size.file, size.threads, size.slots, size.context, min(left, _LARGEST_SPARE)) for size in found]


def _chosen(file: GgufFile, threads: int, slots: int | None, context: int | None, room: int) -> Size:
    """The most slots, and tokens of each, whose cache fits into so many bytes; the least where none does."""
    longest = file.model.context or _CONTEXTS[0]
    contexts = [context] if context else sorted({min(tokens, longest) for tokens in _CONTEXTS}, reverse=True)
    options = [Size(file, threads, number, tokens) for number in ([slots] if slots else _SLOTS) for tokens in contexts]
    return next((size for size in options if size.cache <= room), options[-1])


def _check_context(file: GgufFile, context: int | None) -> None:
    if context and file.model.context and context > file.model.context:
        raise ConfigError(
            f"{_table(file.role)} context = {context:,}: {file.name} can read {file.model.context:,} tokens; set "
            "context to that or less, or leave it out"
        )


def _too_large(found: Sequence[Size], needed: int, free: int, machine: Machine) -> str:
    each = "; ".join(
        f"{_table(size.file.role)} {size.file.name}: {gigabytes(size.file.weights)} of weights, "
        f"{gigabytes(size.cache)} for {size.slots} x {size.context:,} tokens, "
        f"{gigabytes(size.file.fixed - size.file.weights)} to compute"
        for size in found
    )
    smaller = any(size.slots > 1 or size.context > _CONTEXTS[-1] for size in found)
    fix = "lower slots or context" if smaller else "take a smaller model or quantisation (such as Q4_K_M)"
    return (
        f"not enough memory: {gigabytes(needed)} are needed and {gigabytes(free)} of {gigabytes(machine.memory)} are "
        f"free ({each}): {fix}, or end other programs"
    )


def gigabytes(size: int, digits: int = 1) -> str:
    """Bytes as `0.5 GB`."""
    return f"{size / 1e9:.{digits}f} GB"


def _table(role: str) -> str:
    """The table of a configuration that a role's model stands in."""
    return f"[{role.partition(' ')[0]}]"
