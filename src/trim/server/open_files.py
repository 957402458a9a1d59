"""The operating system's limit on open files, which connections are."""

from __future__ import annotations

import logging
import sys
from typing import Final

from trim.config.settings import ServeSettings

logger = logging.getLogger("trim.server")
_EACH: Final = 4  # connections to models' servers of one request, at most about
_OTHERS: Final = 128  # files, pipes and connections beyond those


def raise_open_files(serve: ServeSettings) -> int:
    """Allow this process as many open files as these settings need, where the system lets it.

    Returns:
        Connections of clients that there is room for: `max_connections`, or fewer; then a line of the log says so.
    """
    if sys.platform == "win32":
        return serve.max_connections
    import resource

    others = _EACH * serve.max_requests + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = serve.max_connections + others
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = serve.max_connections if soft == resource.RLIM_INFINITY else max(soft // 4, soft - others)
    if room < serve.max_connections:
        words = "max_connections is %d instead of %d: this process may open %d files (ulimit -n)"
        logger.warning(words, room, serve.max_connections, soft)
    return min(room, serve.max_connections)
