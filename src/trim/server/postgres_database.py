"""The usage store's tables in PostgreSQL, for gateways on several machines. Needs the extra `postgres`.

Transactions of all processes follow one another (an advisory lock), as in a file of SQLite. Twice a second each
process says that it lives and reads what others have spent. One that has not said so for `LEASE` seconds, while the
reader could have heard it, has ended; no clocks are compared for that, and hours go by the database's own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict

from trim.errors import ConfigError
from trim.server.store_database import HELD, Charge, StoreUnavailable, UsageTotals, Value
from trim.server.window_clock import WindowClock

logger = logging.getLogger("trim.server")
LEASE = 10.0  # seconds
EVERY = 0.5  # seconds
_STATES = 20  # how often between two readings of the states
_FORGOTTEN = 3600.0  # seconds after which a process that has ended is not expected back
_LOCKED = "SELECT pg_advisory_xact_lock(1953655149), extract(epoch FROM clock_timestamp())::float8;"
_AMOUNT = "CHECK ({0} >= 0 AND {0} <= 1e15)"  # NaN is more than that
_SCHEMA = f"""
CREATE SCHEMA IF NOT EXISTS trim;
SET LOCAL search_path TO trim;
CREATE TABLE IF NOT EXISTS spend (
    hour BIGINT CHECK (hour >= 0), key TEXT, cost DOUBLE PRECISION {_AMOUNT.format("cost")},
    strong_tokens BIGINT {_AMOUNT.format("strong_tokens")}, requests BIGINT {_AMOUNT.format("requests")},
    PRIMARY KEY (hour, key)
);
CREATE TABLE IF NOT EXISTS held (name TEXT PRIMARY KEY, state TEXT);
CREATE TABLE IF NOT EXISTS clock (
    id INTEGER PRIMARY KEY CHECK (id = 0), time DOUBLE PRECISION, wall DOUBLE PRECISION, elapsed DOUBLE PRECISION,
    boot TEXT
);
CREATE TABLE IF NOT EXISTS reservations (
    id TEXT PRIMARY KEY, owner TEXT, key TEXT, hour BIGINT, cost DOUBLE PRECISION {_AMOUNT.format("cost")},
    used DOUBLE PRECISION {_AMOUNT.format("used")}, strong_tokens BIGINT {_AMOUNT.format("strong_tokens")}
);
CREATE TABLE IF NOT EXISTS recovered (
    id TEXT PRIMARY KEY, key TEXT, hour BIGINT, cost DOUBLE PRECISION, strong_tokens BIGINT
);
CREATE TABLE IF NOT EXISTS owners (name TEXT PRIMARY KEY, written BIGINT, beat BIGINT DEFAULT 0);
CREATE TABLE IF NOT EXISTS rates (key TEXT PRIMARY KEY, "left" DOUBLE PRECISION, at DOUBLE PRECISION);
CREATE TABLE IF NOT EXISTS circuits (name TEXT PRIMARY KEY, opened BIGINT, owner TEXT);
"""
# A process that stops in the middle, or that the network has cut off, holds up the others for five seconds at most.
_BEGIN = """
BEGIN;
SET LOCAL search_path TO trim;
SET LOCAL lock_timeout = '5s';
SET LOCAL idle_in_transaction_session_timeout = '5s';
"""
_CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
    "application_name": "trim",
}


@dataclass
class _Read:
    """What was read last, with what this process has written since."""

    written: int = 0
    spend: dict[tuple[int, str], UsageTotals] = field(default_factory=dict)
    reserved: float = 0.0
    states: dict[str, str] = field(default_factory=dict)
    circuits: dict[str, tuple[int, str]] = field(default_factory=dict)


class PostgresDatabase:
    """A `StoreDatabase` in PostgreSQL, in the schema `trim`.

    Args:
        url: `postgresql://...`, see libpq.

    Raises:
        ConfigError: it cannot be used; says why, without the password.
    """

    def __init__(self, url: str) -> None:
        self.name = uuid4().hex
        self._url = url
        self._ahead = 0.0  # of the database's clock, before this process's
        self._read_at = 0.0
        self._reads = 0
        self._read = _Read()
        self._lock = threading.Lock()  # of that
        self._beats: dict[str, tuple[int, float]] = {}  # as last heard of, and when that was new
        self._ended: list[str] = []
        try:
            self._password = str(conninfo_to_dict(url).get("password") or "")
        except psycopg.Error:
            raise ConfigError("[serve] state is not a URL of PostgreSQL: postgresql://USER@HOST:PORT/NAME") from None
        try:
            self._db = self._connected()
            self._prepare()
        except (psycopg.Error, StoreUnavailable) as error:
            raise ConfigError(f"[serve] state: PostgreSQL cannot be used: {self._words(error)}") from None

    def clock(self) -> WindowClock:
        """The database's."""
        return WindowClock(lambda: time.monotonic() + self._ahead, time.monotonic, boot=self.name)

    @property
    def due(self) -> bool:
        """See `StoreDatabase`."""
        return time.monotonic() - self._read_at >= EVERY

    def begin(self) -> bool:
        """See `StoreDatabase`."""
        if self._db.closed:
            self._db = self._connected()
            self._beats.clear()  # nobody could be heard
        try:
            found = self._run(_BEGIN + _LOCKED)
            while found.nextset():
                pass
            self._set_clock(found)
            if not self.due:
                return False
            self._exchange()
        except BaseException:
            self.rollback()
            raise
        return True

    def commit(self) -> None:
        """See `StoreDatabase`."""
        self._run("COMMIT")

    def rollback(self) -> None:
        """See `StoreDatabase`."""
        try:
            if not self._db.closed:
                self._db.execute("ROLLBACK")
        except psycopg.Error:
            self._db.close()

    def execute(self, statement: str, values: Sequence[Value] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        """See `Transaction`."""
        return self._run(statement.replace("?", "%s"), values)

    def execute_many(self, statement: str, values: Sequence[Sequence[Value]]) -> None:
        """See `Transaction`."""
        try:
            self._db.cursor().executemany(statement.replace("?", "%s").encode(), values)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise StoreUnavailable(self._words(error)) from None

    def repair(self) -> None:
        """There is nothing to do: columns have types, and refuse what is no amount."""

    def ended(self) -> list[str]:
        """See `StoreDatabase`."""
        ended, self._ended = self._ended, []
        return ended

    def totals(self, first_hour: int, key: str | None) -> tuple[int, UsageTotals]:
        """See `StoreDatabase`."""
        with self._lock:
            found = [
                used for (hour, name), used in self._read.spend.items() if hour >= first_hour and key in (None, name)
            ]
            return self._read.written, sum(found, UsageTotals())

    def reserved(self) -> float:
        """See `StoreDatabase`."""
        return self._read.reserved

    def state(self, name: str) -> str | None:
        """See `StoreDatabase`."""
        return self._read.states.get(name)

    def circuits(self) -> dict[str, tuple[int, str]]:
        """See `StoreDatabase`."""
        return self._read.circuits

    def charged(self, charge: Charge) -> None:
        """See `StoreDatabase`."""
        where = charge.hour, charge.key
        with self._lock:
            if charge.number > self._read.written:
                self._read.spend[where] = self._read.spend.get(where, UsageTotals()) + charge.used
                self._read.written = charge.number

    def saved(self, name: str, state: str) -> None:
        """See `StoreDatabase`."""
        with self._lock:
            self._read.states[name] = state

    def close(self) -> None:
        """See `StoreDatabase`."""
        self._db.close()

    # Inside -----------------------------------------------------------------------------------------------------

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        try:
            return psycopg.connect(self._url, **_CONNECTION)
        except psycopg.Error as error:
            raise StoreUnavailable(self._words(error)) from None

    def _prepare(self) -> None:
        """Make the tables, if there are none: a user who may not make a schema can use one that is there."""
        with self._db.transaction():
            self._set_clock(self._db.execute(_LOCKED.encode()))
            found = self._db.execute("SELECT to_regclass('trim.circuits')").fetchone()
            if found is None or found[0] is None:
                self._db.execute(_SCHEMA.encode())

    def _set_clock(self, locked: psycopg.Cursor[tuple[Any, ...]]) -> None:
        row = locked.fetchone()
        assert row is not None
        self._ahead = float(row[1]) - time.monotonic()

    def _run(self, statement: str, values: Sequence[Value] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        try:
            return self._db.execute(statement.encode(), values or None)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise StoreUnavailable(self._words(error)) from None

    def _exchange(self) -> None:
        """Say that this process lives, and read what others have done."""
        now = time.monotonic()
        if now - self._read_at > LEASE / 2:
            self._beats.clear()  # this process has not listened
        beat = (
            "INSERT INTO owners (name, written, beat) VALUES (?, 0, 1) "
            "ON CONFLICT (name) DO UPDATE SET beat = owners.beat + 1"
        )
        self.execute(beat, (self.name,))
        self._listen(now)
        self._look()
        self._read_at = now

    def _listen(self, now: float) -> None:
        """Find who has ended. What belongs to a process that is not listed is left by one that has."""
        owners = (
            "SELECT name, beat FROM owners UNION ALL SELECT DISTINCT owner, -1 FROM reservations "
            "WHERE owner NOT IN (SELECT name FROM owners)"
        )
        before, self._beats, self._ended = self._beats, {}, []
        for name, beat in self.execute(owners).fetchall():
            heard = before.get(name)
            since = heard[1] if heard is not None and heard[0] == beat else now
            self._beats[name] = beat, since
            if name == self.name or now - since < LEASE:
                continue
            self._ended.append(name)
            if now - since > _FORGOTTEN:
                self.execute("DELETE FROM owners WHERE name = ?", (name,))

    def _look(self) -> None:
        """Read what was spent and is held."""
        newest = "SELECT * FROM spend WHERE hour >= (SELECT COALESCE(MAX(hour), 0) FROM spend) - 48"
        rows = self.execute(newest).fetchall()
        spend = {(hour, key): UsageTotals(*amounts) for hour, key, *amounts in rows}
        written = self.execute("SELECT written FROM owners WHERE name = ?", (self.name,)).fetchone()
        held = self.execute(HELD).fetchone()
        assert written is not None
        assert held is not None
        states = self._read.states
        if self._reads % _STATES == 0:
            states = dict(self.execute("SELECT name, state FROM held").fetchall())
        self._reads += 1
        opened = self.execute("SELECT name, opened, owner FROM circuits").fetchall()
        circuits = {name: (count, owner) for name, count, owner in opened}
        with self._lock:
            self._read = _Read(int(written[0]), spend, float(held[0]), states, circuits)

    def _words(self, error: Exception) -> str:
        """An error in one line, without the password."""
        words = " ".join(str(error).split()) or type(error).__name__
        for secret in filter(None, (self._url, self._password)):
            words = words.replace(secret, "***")
        return words
