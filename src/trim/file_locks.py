"""Locks on open files, which the operating system takes from a process at its end, whatever that was."""

from __future__ import annotations

import sys


def try_lock(file: int) -> bool | None:
    """Whether this process has the lock on an open file now; None: there are no locks on this system or disk."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
