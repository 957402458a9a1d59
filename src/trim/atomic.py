"""Files that are written whole, and lines that are: a kill or a full disk leaves the old content or the new one."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from pathlib import Path

from trim.private_files import make_file


def write_text(path: Path, text: str) -> None:
    """Replace a file's content by a text, in UTF-8; half a surrogate pair becomes an escape. See `write_bytes`."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, values: object) -> None:
    """Replace a file's content by a JSON value, one space of indent, and the end of the line."""
    write_text(path, json.dumps(values, indent=1) + "\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file's content; a link keeps pointing to it. A pipe or a terminal is written to as it is.

    The content goes into a file beside it, named with `.tmp` behind it, that takes its place once it is on the disk.

    Raises:
        OSError: it cannot be written, as on a full disk, or is read-only; names it. The old content is still there, and
            nothing lies beside it.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            _replace(path.resolve(), content)
    except OSError as error:
        raise _at(path, error) from None


def _replace(target: Path, content: bytes) -> None:
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    unfinished = target.with_name(f"{target.name}.tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            unfinished.unlink()
        raise


class LineFile:
    """A file that whole lines are appended to by this process alone. What `append` has returned from survives a kill.

    Args:
        path: made where it is not there; nobody else can read it.
        size: bytes of it that stay; None: all.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        self._path = path
        make_file(path)
        self._file = path.open("ab", buffering=0)
        if size is not None:
            self._file.truncate(size)

    def append(self, line: bytes) -> None:
        """Write a line.

        Raises:
            OSError: the disk is full; names the file, which has no part of the line.
        """
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(os.fstat(self._file.fileno()).st_size - written)
            raise _at(self._path, error) from None

    def close(self) -> None:
        """Flush to the disk and close."""
        if not self._file.closed:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise _at(self._path, error) from None
            finally:
                self._file.close()


def _at(path: Path, error: OSError) -> OSError:
    """The same error with the name of the file that was asked for."""
    return error if error.errno is None else OSError(error.errno, error.strerror, str(path))
