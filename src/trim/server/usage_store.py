"""The gateway's books: what was spent in which hour and for whom, and where held shares stand. SQLite.

Every charge is one statement that adds to what is there, so several processes may share a file, and several threads
the books.
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
_BUSY_SECONDS = 0.5  # to wait for another process that writes; nothing else happens in that time
_TABLES = """
CREATE TABLE IF NOT EXISTS spend (
    hour INTEGER, key TEXT, cost REAL, strong_tokens INTEGER, requests INTEGER, PRIMARY KEY (hour, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (name TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over some hours. `cost` is in the unit of the prices."""

    cost: float = 0.0
    strong_tokens: int = 0
    requests: int = 0


class Books:
    """Spend and held shares in a file, or in memory where there is none.

    Args:
        path: the file.
        clock: seconds since 1970.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: str = "", clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._owed: deque[tuple[int, str, Spent]] = deque()
        self._lock = threading.Lock()  # two threads in one connection lose statements without a word
        try:
            if path:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path or ":memory:", isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"[serve] state {path!r} cannot be opened: {error}") from None

    def hour(self) -> int:
        """Hours since 1970, UTC; a day is the 24 of them that have the same quotient by 24."""
        return int(self.clock() // 3600)

    def charge(self, key: str, spent: Spent) -> None:
        """Add to the current hour. What cannot be written now is owed: counted all the same, and written later."""
        with self._lock:
            self._owed.append((self.hour(), key, spent))
            self._write()

    def _write(self) -> None:
        try:
            while self._owed:
                hour, name, one = self._owed[0]
                self._db.execute(
                    "INSERT INTO spend VALUES (?, ?, ?, ?, ?) ON CONFLICT (hour, key) "
                    "DO UPDATE SET cost = cost + excluded.cost, requests = requests + excluded.requests, "
                    "strong_tokens = strong_tokens + excluded.strong_tokens",
                    (hour, name, *asdict(one).values()),
                )
                self._owed.popleft()
        except sqlite3.Error as error:
            logger.error("%d charges wait to be written to the books: %s", len(self._owed), error)

    def spent(self, first_hour: int, key: str | None = None) -> Spent:
        """What was spent from that hour on, by everybody or for one key."""
        with self._lock:
            row = self._db.execute(
                "SELECT TOTAL(cost), IFNULL(SUM(strong_tokens), 0), IFNULL(SUM(requests), 0) FROM spend "
                "WHERE hour >= ? AND (? IS NULL OR key = ?)",
                (first_hour, key, key),
            ).fetchone()
            owed = [one for hour, name, one in self._owed if hour >= first_hour and key in (None, name)]
        return Spent(
            *(have + sum(more) for have, *more in zip(row, *(asdict(one).values() for one in owed), strict=True))
        )

    def keep(self, name: str, state: dict[str, Any]) -> None:
        """Remember where a held share stands; if not now, then after the next answer."""
        with self._lock, suppress(sqlite3.OperationalError):
            self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (name, json.dumps(state)))

    def kept(self, name: str) -> dict[str, Any] | None:
        """What `keep` remembered."""
        with self._lock:
            row = self._db.execute("SELECT state FROM held WHERE name = ?", (name,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def close(self) -> None:
        """Write what is owed and close the file."""
        with self._lock:
            self._write()
            self._db.close()
