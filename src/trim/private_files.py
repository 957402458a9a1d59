"""Files and folders that only their user can read, whatever the umask says: what people asked, and what they spent."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_FILE, _FOLDER = 0o600, 0o700


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are not there; one that is there stays as it is.

    Raises:
        OSError: it cannot be made, or something else is there.
    """
    for folder in reversed([path, *path.parents]):
        if not folder.is_dir():
            folder.mkdir(_FOLDER, exist_ok=True)
            folder.chmod(_FOLDER)


def make_file(path: Path) -> None:
    """Make an empty file, or make one that is there private too; a pipe or a device stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE))
    make_private(path)


def make_private(path: Path) -> None:
    """Let nobody else read a file, if it is there and ours."""
    with suppress(PermissionError):
        if path.is_file():
            path.chmod(_FILE)
