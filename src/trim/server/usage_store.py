"""The usage store: spend per hour and key, and the state of the target controllers. SQLite.

Every charge is one statement that adds to what is stored, so several processes may share a file and several threads
the store. What is no amount never gets in, and is taken out when a file is opened that has it: one such row would count
for nothing or for everything from then on.
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
_MOST = 1e15  # of a cost or a count in a row
_LATEST = 10_000_000  # an hour that is in the fourth millennium, whatever the clock of this machine says
_ADD = (
    "INSERT INTO spend VALUES (?, ?, ?, ?, ?) ON CONFLICT (hour, key) DO UPDATE SET cost = cost + excluded.cost, "
    "requests = requests + excluded.requests, strong_tokens = strong_tokens + excluded.strong_tokens"
)
_UNSOUND = """
SELECT hour, key, CASE WHEN typeof(cost) IN ('real', 'integer') THEN cost END,
    CASE WHEN typeof(strong_tokens) IN ('real', 'integer') THEN strong_tokens END,
    CASE WHEN typeof(requests) IN ('real', 'integer') THEN requests END
FROM spend WHERE typeof(hour) != 'integer' OR hour NOT BETWEEN 0 AND :hour
    OR typeof(cost) NOT IN ('real', 'integer') OR cost NOT BETWEEN 0 AND :most
    OR typeof(strong_tokens) != 'integer' OR strong_tokens NOT BETWEEN 0 AND :most
    OR typeof(requests) != 'integer' OR requests NOT BETWEEN 0 AND :most
"""


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over some hours. `cost` is in dollars."""

    cost: float = 0.0
    strong_tokens: int = 0
    requests: int = 0

    def sound(self) -> UsageTotals:
        """The same with 0 for what is no amount."""
        return UsageTotals(_amount(self.cost), int(_amount(self.strong_tokens)), int(_amount(self.requests)))


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
            self._repair()
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"[serve] state {path!r} cannot be opened: {error}") from None

    def hour(self) -> int:
        """Hours since 1970, UTC. A day is the 24 of them with the same quotient by 24."""
        return int(self.clock() // 3600)

    def charge(self, key: str, used: UsageTotals) -> None:
        """Add to the current hour. What cannot be written now counts at once and is written later."""
        sound = used.sound()
        if sound != used:
            logger.error("a charge for %s that cannot be right is counted as %s: %s", key, sound, used)
        with self._lock:
            self._unwritten.append((self.hour(), key, sound))
            self._write()

    def _repair(self) -> None:
        """Take out of a file what is no amount, no hour and no state."""
        rows = self._db.execute(_UNSOUND, {"most": _MOST, "hour": _LATEST}).fetchall()
        for hour, key, *amounts in rows:
            self._db.execute("DELETE FROM spend WHERE hour IS ? AND key IS ?", (hour, key))
            if isinstance(hour, int) and 0 <= hour <= _LATEST:
                self._unwritten.append((hour, key, UsageTotals(*amounts).sound()))
        self._write()
        held = self._db.execute("SELECT name, CAST(state AS BLOB) FROM held").fetchall()
        states = [(name,) for name, state in held if _state(state) is None]
        if rows or states:
            self._db.executemany("DELETE FROM held WHERE name = ?", states)
            words = "the usage store was repaired: %d rows of spend and %d states of controllers were not valid"
            logger.warning(words, len(rows), len(states))

    def _write(self) -> None:
        while self._unwritten:
            hour, name, used = self._unwritten[0]
            try:
                self._db.execute(_ADD, (hour, name, *asdict(used).values()))
            except sqlite3.Error as error:
                logger.error("%d charges are not yet written to the usage store: %s", len(self._unwritten), error)
                return
            except ValueError as error:  # a name that UTF-8 cannot write: the charges behind it are not held up
                logger.error("a charge of %s cannot be written to the usage store: %s", used, error)
            self._unwritten.popleft()

    def totals(self, first_hour: int, key: str | None = None) -> UsageTotals:
        """What was used from that hour on, by all keys or by one."""
        with self._lock:
            row = self._db.execute(
                "SELECT TOTAL(cost), TOTAL(strong_tokens), TOTAL(requests) FROM spend "
                "WHERE hour >= ? AND (? IS NULL OR key = ?)",
                (first_hour, key, key),
            ).fetchone()
            unwritten = [used for hour, name, used in self._unwritten if hour >= first_hour and key in (None, name)]
        columns = zip(row, *(asdict(used).values() for used in unwritten), strict=True)
        cost, strong_tokens, requests = (stored + sum(more) for stored, *more in columns)
        return UsageTotals(cost, int(strong_tokens), int(requests))

    def save_state(self, name: str, state: dict[str, Any]) -> None:
        """Store the state of a target controller. If the file is locked, the next answer's state is stored instead."""
        with self._lock, suppress(sqlite3.OperationalError):
            self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (name, json.dumps(state)))

    def load_state(self, name: str) -> dict[str, Any] | None:
        """What `save_state` stored; None: nothing."""
        with self._lock:
            row = self._db.execute("SELECT state FROM held WHERE name = ?", (name,)).fetchone()
        return None if row is None else _state(row[0])

    def close(self) -> None:
        """Write what is not yet written and close the file."""
        with self._lock:
            self._write()
            self._db.close()


def _amount(value: object) -> float:
    """A number that can be charged; 0 for anything else."""
    if isinstance(value, int | float) and 0 <= value <= _MOST:  # which NaN is not either
        return value
    return 0


def _state(stored: str | bytes) -> dict[str, Any] | None:
    """The JSON object of a stored state; None: it is none, or has numbers that are not finite."""
    try:
        state = json.loads(stored)
        json.dumps(state, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return None
    return state if isinstance(state, dict) else None
