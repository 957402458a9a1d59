"""Traces of what was asked, for `trim fit`, `trim calibrate` and `trim report`: crash-safe, in files that rotate.

A folder gets `traces-TIME-PID.jsonl` files of `trim.traces`; a new one is begun when one is full. Nothing is recorded
unless it is asked for. A hook may rewrite or drop a trace before it is written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from trim.errors import ConfigError
from trim.traces import TraceWriter
from trim.types import Trace

Redact = Callable[[Trace], Trace | None]


class Recorder:
    """Appends traces.

    Args:
        folder: where; made if it is not there.
        most: bytes of a file; the next is begun behind the trace that exceeds it.
        redact: gives the trace to write, or None to write nothing.

    Raises:
        ConfigError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, most: float, redact: Redact | None = None) -> None:
        self._folder = folder
        self._most = most
        self._redact = redact
        self._writer: TraceWriter | None = None
        self._path = folder
        self._number = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"[serve] record {folder}: {error.strerror or error}") from None

    def append(self, trace: Trace) -> None:
        """Write a trace, unless it is redacted away."""
        kept = trace if self._redact is None else self._redact(trace)
        if kept is None:
            return
        if self._writer is None:
            self._number += 1
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            self._path = self._folder / f"traces-{stamp}-{os.getpid()}-{self._number:04}.jsonl"
            self._writer = TraceWriter(self._path)
        self._writer.append(kept)
        if self._path.stat().st_size >= self._most:
            self.close()

    def close(self) -> None:
        """Flush to the disk and close the file; the next trace begins another."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
