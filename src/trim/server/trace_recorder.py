"""Records traces of requests for `trim fit`, `trim calibrate` and `trim report`.

A folder gets `traces-TIME-PID.jsonl` files in the format of `trim.traces`; a full file is followed by another. Nothing
is recorded unless `[serve] record` is set. A hook may rewrite or drop a trace before it is written. Both happen in a
thread.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import BoundedSemaphore

from trim.errors import ConfigError
from trim.private_files import make_folder
from trim.traces import TraceWriter
from trim.types import Trace

logger = logging.getLogger("trim.server")
_MOST_WAITING = 1000  # traces, of a disk that does not answer

Redact = Callable[[Trace], Trace | None]


class TraceRecorder:
    """Appends traces to files that rotate.

    Args:
        folder: where the files go; made if it does not exist.
        max_bytes: of a file; the trace that exceeds it is the file's last.
        redact: returns the trace to write, or None to write nothing.

    Raises:
        ConfigError: the folder cannot be made.
    """

    def __init__(self, folder: Path, max_bytes: float, redact: Redact | None = None) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._redact = redact
        self._writer: TraceWriter | None = None
        self._path = folder
        self._number = 0
        self._room = BoundedSemaphore(_MOST_WAITING)
        self._thread = ThreadPoolExecutor(1, "traces")
        try:
            make_folder(folder)
        except OSError as error:
            raise ConfigError(f"[serve] record {folder}: {error.strerror or error}") from None

    def append(self, trace: Trace) -> None:
        """Write a trace soon, unless the hook drops it. The answer does not fail if the disk is full."""
        if not self._room.acquire(blocking=False):
            logger.error("a trace was not recorded: the disk is too slow, %d traces wait for it", _MOST_WAITING)
            return
        self._thread.submit(self._write, trace)

    def close(self) -> None:
        """Write what waits, and flush the file to disk."""
        self._thread.submit(self._end_file)
        self._thread.shutdown()

    def _write(self, trace: Trace) -> None:
        """In the thread: the event loop waits for no disk, and for no hook."""
        try:
            redacted = trace if self._redact is None else self._redact(trace)
            if redacted is not None:
                self._append(redacted)
        except OSError as error:
            logger.error("a trace was not recorded: %s", error)
        except Exception:
            logger.exception("a trace was not recorded")
        finally:
            self._room.release()

    def _append(self, trace: Trace) -> None:
        if self._writer is None:
            self._number += 1
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            self._path = self._folder / f"traces-{stamp}-{os.getpid()}-{self._number:04}.jsonl"
            self._writer = TraceWriter(self._path)
        self._writer.append(trace)
        if self._path.stat().st_size >= self._max_bytes:
            self._end_file()

    def _end_file(self) -> None:
        """Flush the file to disk and close it; the next trace starts another."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
