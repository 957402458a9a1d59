"""Which processes use a state file now: each has a lock on a file beside it, which the system takes from it at its end,
whatever that was.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from trim.file_locks import try_lock
from trim.private_files import make_file


class StoreOwner:
    """A process, this one, as a user of a state file.

    Args:
        path: of the state file; empty: it is in memory.
    """

    def __init__(self, path: str) -> None:
        self.name = uuid4().hex
        self._path = path
        if path:
            make_file(self._beside(self.name))
        self._file = os.open(self._beside(self.name), os.O_RDWR) if path else None
        if self._file is not None:
            try_lock(self._file)

    def has_ended(self, name: str) -> bool:
        """Whether another process is no more. Where there are no locks, it is taken to be."""
        try:
            file = os.open(self._beside(name), os.O_RDWR)
        except OSError:
            return True
        try:
            return try_lock(file) is not False
        finally:
            os.close(file)

    def remove(self, name: str) -> None:
        """Remove the lock file of a process that has ended."""
        with suppress(OSError):
            self._beside(name).unlink()

    def close(self) -> None:
        """End the use of the file."""
        if self._file is not None:
            self.remove(self.name)
            os.close(self._file)
            self._file = None

    def _beside(self, name: str) -> Path:
        return Path(f"{self._path}-{name}.lock")
