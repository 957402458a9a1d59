"""The usage store: spend per hour and key, and the state of the target controllers. SQLite.

Every charge is one statement that adds to what is stored, so several processes may share a file and several threads
the store.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trim.errors import ConfigError

logger = logging.getLogger("trim.server")
_BUSY_SECONDS = 0.5  # how long to wait while another process writes; nothing else happens in that time
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spend (
    hour INTEGER, key TEXT, cost REAL, strong_tokens INTEGER, requests INTEGER, PRIMARY KEY (hour, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (name TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID;
"""  # `held` has the state of the target controllers; version 0.1 named it so, and its files are still read


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over some hours. `cost` is in the unit of the prices."""

    cost: float = 0.0
    strong_tokens: int = 0
    requests: int = 0


class UsageStore:
    """Spend and controller states in a file, or in memory if there is no path.

    Args:
        path: of the file; made with its folder if it does not exist.
        clock: seconds since 1970.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: str = "", clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._unwritten: deque[tuple[int, str, UsageTotals]] = deque()
        self._lock = threading.Lock()  # SQLite silently loses statements of two threads that share a connection
        try:
            if path:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path or ":memory:", isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"[serve] state {path!r} cannot be opened: {error}") from None

    def hour(self) -> int:
        """Hours since 1970, UTC. A day is the 24 of them with the same quotient by 24."""
        return int(self.clock() // 3600)

    def charge(self, key: str, used: UsageTotals) -> None:
        """Add to the current hour. What cannot be written now counts at once and is written later."""
        with self._lock:
            self._unwritten.append((self.hour(), key, used))
            self._write()

    def _write(self) -> None:
        try:
            while self._unwritten:
                hour, name, used = self._unwritten[0]
                self._db.execute(
                    "INSERT INTO spend VALUES (?, ?, ?, ?, ?) ON CONFLICT (hour, key) "
                    "DO UPDATE SET cost = cost + excluded.cost, requests = requests + excluded.requests, "
                    "strong_tokens = strong_tokens + excluded.strong_tokens",
                    (hour, name, *asdict(used).values()),
                )
                self._unwritten.popleft()
        except sqlite3.Error as error:
            logger.error("%d charges are not yet written to the usage store: %s", len(self._unwritten), error)

    def totals(self, first_hour: int, key: str | None = None) -> UsageTotals:
        """What was used from that hour on, by all keys or by one."""
        with self._lock:
            row = self._db.execute(
                "SELECT TOTAL(cost), IFNULL(SUM(strong_tokens), 0), IFNULL(SUM(requests), 0) FROM spend "
                "WHERE hour >= ? AND (? IS NULL OR key = ?)",
                (first_hour, key, key),
            ).fetchone()
            unwritten = [used for hour, name, used in self._unwritten if hour >= first_hour and key in (None, name)]
        columns = zip(row, *(asdict(used).values() for used in unwritten), strict=True)
        return UsageTotals(*(stored + sum(more) for stored, *more in columns))

    def save_state(self, name: str, state: dict[str, Any]) -> None:
        """Store the state of a target controller. If the file is locked, the next answer's state is stored instead."""
        with self._lock, suppress(sqlite3.OperationalError):
            self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (name, json.dumps(state)))

    def load_state(self, name: str) -> dict[str, Any] | None:
        """What `save_state` stored; None: nothing."""
        with self._lock:
            row = self._db.execute("SELECT state FROM held WHERE name = ?", (name,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def close(self) -> None:
        """Write what is not yet written and close the file."""
        with self._lock:
            self._write()
            self._db.close()
