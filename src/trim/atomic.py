"""Files that are written whole: a kill leaves the old content or the new one, never half of it."""

from __future__ import annotations

import json
import os
from pathlib import Path


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
        OSError: it cannot be written; the old content is still there.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    target = path.resolve()
    unfinished = target.with_name(f"{target.name}.tmp")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(target)
