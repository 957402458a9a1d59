"""A lock is held by one open file at a time, until it is closed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from trim.file_locks import try_lock


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks on Windows")
def test_one_at_a_time_until_it_is_closed(tmp_path: Path) -> None:
    one, other = (os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert try_lock(one) is True
    assert try_lock(other) is False
    os.close(one)
    assert try_lock(other) is True
    os.close(other)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks on Windows")
def test_what_cannot_be_locked_is_told_apart() -> None:
    file = os.open(os.devnull, os.O_RDONLY)
    os.close(file)
    assert try_lock(file) is None
