"""The gateway's books: what was spent in which hour and for whom, and where held shares stand. SQLite.

Every charge is one statement that adds to what is there, so several processes may share a file.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trim.errors import ConfigError

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
        try:
            if path:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=5.0, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"[serve] state {path!r} cannot be opened: {error}") from None

    def hour(self) -> int:
        """Hours since 1970, UTC; a day is the 24 of them that have the same quotient by 24."""
        return int(self.clock() // 3600)

    def charge(self, key: str, spent: Spent) -> None:
        """Add to the current hour."""
        self._db.execute(
            "INSERT INTO spend VALUES (?, ?, ?, ?, ?) ON CONFLICT (hour, key) "
            "DO UPDATE SET cost = cost + excluded.cost, requests = requests + excluded.requests, "
            "strong_tokens = strong_tokens + excluded.strong_tokens",
            (self.hour(), key, *asdict(spent).values()),
        )

    def spent(self, first_hour: int, key: str | None = None) -> Spent:
        """What was spent from that hour on, by everybody or for one key."""
        row = self._db.execute(
            "SELECT TOTAL(cost), IFNULL(SUM(strong_tokens), 0), IFNULL(SUM(requests), 0) FROM spend "
            "WHERE hour >= ? AND (? IS NULL OR key = ?)",
            (first_hour, key, key),
        ).fetchone()
        return Spent(*row)

    def keep(self, name: str, state: dict[str, Any]) -> None:
        """Remember where a held share stands."""
        self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (name, json.dumps(state)))

    def kept(self, name: str) -> dict[str, Any] | None:
        """What `keep` remembered."""
        row = self._db.execute("SELECT state FROM held WHERE name = ?", (name,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def close(self) -> None:
        """Close the file."""
        self._db.close()
