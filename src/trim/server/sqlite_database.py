"""The usage store's tables in a file of SQLite that the processes of one machine share, or in memory.

What is written survives the end of the process, kill -9 included. A power failure may cost the newest transactions
(`synchronous` is NORMAL), never the file.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trim.private_files import make_file, make_folder, make_private
from trim.server.store_database import ADD, HELD, MOST, Charge, StoreUnavailable, UsageTotals, Value, stored_state
from trim.server.store_owner import StoreOwner
from trim.server.window_clock import WindowClock

logger = logging.getLogger("trim.server")
_BUSY_SECONDS = 0.5  # how long a try to write waits for another process; at the start, ten times that
# `held` has the state of the target controllers; version 0.1 named it so, and its files are still read.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spend (
    hour INTEGER, key TEXT, cost REAL, strong_tokens INTEGER, requests INTEGER, PRIMARY KEY (hour, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (name TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 0), time REAL, wall REAL, elapsed REAL, boot TEXT);
CREATE TABLE IF NOT EXISTS reservations (
    id TEXT PRIMARY KEY, owner TEXT, key TEXT, hour INTEGER, cost REAL, used REAL, strong_tokens INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recovered (
    id TEXT PRIMARY KEY, key TEXT, hour INTEGER, cost REAL, strong_tokens INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owners (name TEXT PRIMARY KEY, written INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rates (key TEXT PRIMARY KEY, left REAL, at REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS circuits (name TEXT PRIMARY KEY, opened INTEGER, owner TEXT) WITHOUT ROWID;
"""
_MOST_KNOWN = 1000
_LATEST = 10_000_000  # an hour that is in the fourth millennium, whatever the clock of this machine says
_UNSOUND = """
SELECT hour, key, CASE WHEN typeof(cost) IN ('real', 'integer') THEN cost END,
    CASE WHEN typeof(strong_tokens) IN ('real', 'integer') THEN strong_tokens END,
    CASE WHEN typeof(requests) IN ('real', 'integer') THEN requests END
FROM spend WHERE typeof(hour) != 'integer' OR hour NOT BETWEEN 0 AND :hour
    OR typeof(cost) NOT IN ('real', 'integer') OR cost NOT BETWEEN 0 AND :most
    OR typeof(strong_tokens) != 'integer' OR strong_tokens NOT BETWEEN 0 AND :most
    OR typeof(requests) != 'integer' OR requests NOT BETWEEN 0 AND :most
"""
_UNSOUND_ROWS = """
DELETE FROM reservations WHERE typeof(hour) != 'integer' OR hour NOT BETWEEN 0 AND :hour
    OR typeof(cost) NOT IN ('real', 'integer') OR cost NOT BETWEEN 0 AND :most
    OR typeof(used) NOT IN ('real', 'integer') OR used NOT BETWEEN 0 AND :most
    OR typeof(strong_tokens) != 'integer' OR strong_tokens NOT BETWEEN 0 AND :most
"""


class SqliteDatabase:
    """A `StoreDatabase` in a file, or in memory if there is no path.

    Raises:
        OSError, sqlite3.Error: the file cannot be opened.
    """

    due = False

    def __init__(self, path: str) -> None:
        self._path = path
        if path:
            make_folder(Path(path).parent)
            make_file(Path(path))  # SQLite gives the files that it makes beside it the same mode
            for end in ("-wal", "-shm"):
                make_private(Path(path + end))
        self._owner = StoreOwner(path)
        self.name = self._owner.name
        self._lock = threading.Lock()  # of a connection that is read and written
        self._known: dict[tuple[int, str | None], tuple[int, UsageTotals]] = {}  # as last read
        self._looked = False
        try:
            self._db = _connect(path, 10 * _BUSY_SECONDS)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")
            self._reader = _connect(path, 0.0) if path else self._db
        except BaseException:
            self._owner.close()
            raise
        self._reading = threading.Lock() if path else self._lock

    def clock(self) -> WindowClock:
        """The machine's."""
        return WindowClock()

    def begin(self) -> bool:
        """See `StoreDatabase`."""
        self._lock.acquire()
        try:
            self.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._lock.release()
            raise
        return bool(self._path)

    def commit(self) -> None:
        """See `StoreDatabase`."""
        self.execute("COMMIT")
        self._lock.release()

    def rollback(self) -> None:
        """See `StoreDatabase`."""
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        finally:
            self._lock.release()

    def execute(self, statement: str, values: Sequence[Value] = ()) -> sqlite3.Cursor:
        """See `Transaction`."""
        try:
            return self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(str(error)) from None

    def execute_many(self, statement: str, values: Sequence[Sequence[Value]]) -> None:
        """See `Transaction`."""
        try:
            self._db.executemany(statement, values)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(str(error)) from None

    def repair(self) -> None:
        """See `StoreDatabase`."""
        db, limits = self._db, {"most": MOST, "hour": _LATEST}
        rows = db.execute(_UNSOUND, limits).fetchall()
        for hour, key, *amounts in rows:
            db.execute("DELETE FROM spend WHERE hour IS ? AND key IS ?", (hour, key))
            if isinstance(hour, int) and 0 <= hour <= _LATEST:
                used = UsageTotals(*amounts).sound()
                db.execute(ADD, (hour, key, used.cost, used.strong_tokens, used.requests))
        db.execute(_UNSOUND_ROWS, limits)
        db.execute("DELETE FROM rates WHERE typeof(left) != 'real' OR typeof(at) != 'real' OR abs(left) > 1e15")
        held = db.execute("SELECT name, CAST(state AS BLOB) FROM held").fetchall()
        states = [(name,) for name, state in held if stored_state(state) is None]
        if rows or states:
            db.executemany("DELETE FROM held WHERE name = ?", states)
            words = "the usage store was repaired: %d rows of spend and %d states of controllers were not valid"
            logger.warning(words, len(rows), len(states))

    def ended(self) -> list[str]:
        """Those that have no lock any more, once: a process that dies later is found by the one that replaces it."""
        if self._looked:
            return []
        self._looked = True
        names = "SELECT DISTINCT owner FROM reservations UNION SELECT name FROM owners"
        ended = [str(name) for (name,) in self.execute(names).fetchall() if self._owner.has_ended(str(name))]
        for name in ended:
            self.execute("DELETE FROM owners WHERE name = ?", (name,))
            self._owner.remove(name)
        return ended

    def totals(self, first_hour: int, key: str | None) -> tuple[int, UsageTotals]:
        """See `StoreDatabase`; what was there when it was last read, where it cannot be read now."""
        rows = self._read(
            "SELECT (SELECT written FROM owners WHERE name = ?), TOTAL(cost), TOTAL(strong_tokens), TOTAL(requests) "
            "FROM spend WHERE hour >= ? AND (? IS NULL OR key = ?)",
            (self.name, first_hour, key, key),
        )
        if not rows:
            return self._known.get((first_hour, key), (0, UsageTotals()))
        written, cost, strong_tokens, requests = rows[0]
        found = int(written or 0), UsageTotals(cost, int(strong_tokens), int(requests))
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[first_hour, key] = found
        return found

    def reserved(self) -> float:
        """See `StoreDatabase`."""
        rows = self._read(HELD, ())
        return float(rows[0][0]) if rows else 0.0

    def state(self, name: str) -> str | bytes | None:
        """See `StoreDatabase`."""
        rows = self._read("SELECT state FROM held WHERE name = ?", (name,))
        found: str | bytes | None = rows[0][0] if rows else None
        return found

    def circuits(self) -> dict[str, tuple[int, str]]:
        """See `StoreDatabase`."""
        rows = self._read("SELECT name, opened, owner FROM circuits", ()) if self._path else []
        return {name: (opened, owner) for name, opened, owner in rows}

    def charged(self, charge: Charge) -> None:
        """It is read from the file."""

    def saved(self, name: str, state: str) -> None:
        """It is read from the file."""

    def close(self) -> None:
        """See `StoreDatabase`."""
        if self._path:
            self._reader.close()
        self._db.close()
        self._owner.close()

    def _read(self, statement: str, values: tuple[Value, ...]) -> list[tuple[Any, ...]]:
        """Rows; none where another process keeps the file to itself."""
        with self._reading:
            try:
                return self._reader.execute(statement, values).fetchall()
            except sqlite3.OperationalError:
                return []


def _connect(path: str, seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(path or ":memory:", isolation_level=None, timeout=seconds, check_same_thread=False)
