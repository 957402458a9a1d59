"""Reservations: what running requests may still spend, in the usage store's file, where all processes see it.

A row is written before a request's first call and holds what the request may spend in all; what it has used so far
stands beside that. Caps count what is spent and what is held. A row whose process has ended without settling it is
settled by the next one that opens the file. Everything here runs inside a transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

Recovery = Literal["reserved", "counted"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS reservations (
    id TEXT PRIMARY KEY, owner TEXT, key TEXT, hour INTEGER, cost REAL, used REAL, strong_tokens INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owners (name TEXT PRIMARY KEY, written INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rates (key TEXT PRIMARY KEY, left REAL, at REAL) WITHOUT ROWID;
"""
ADD = (
    "INSERT INTO spend VALUES (?, ?, ?, ?, ?) ON CONFLICT (hour, key) DO UPDATE SET cost = cost + excluded.cost, "
    "requests = requests + excluded.requests, strong_tokens = strong_tokens + excluded.strong_tokens"
)


@dataclass(frozen=True, slots=True)
class Cap:
    """A cap on spend in the current window of so many hours (UTC), for one key or (None) for all of them."""

    limit: float
    hours: int
    key: str | None
    scope: str


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What a key may do besides spending; None: no limit."""

    at_once: int | None = None
    per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request cannot run now. `cap`: it is spent, or (`held`) may be used up by what runs."""

    why: Literal["at once", "per minute", "cap"]
    wait: float = 0.0  # seconds; of a cap, until its window ends
    cap: Cap | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Reservation:
    """A request's row. What it holds is `cost`; `used` of that is spent."""

    id: str
    key: str
    hour: int
    cost: float = 0.0
    used: float = 0.0
    strong_tokens: int = 0


class Reservations:
    """The rows of one process.

    Args:
        owner: names the process.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def write(self, db: sqlite3.Connection, row: Reservation) -> None:
        """Write a row, or write it anew."""
        values = (row.id, self._owner, row.key, row.hour, row.cost, row.used, row.strong_tokens)
        db.execute("INSERT OR REPLACE INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def note(self, db: sqlite3.Connection, rows: Sequence[Reservation]) -> None:
        """Note what running requests have used so far, for the case that they are never settled."""
        db.executemany(
            "UPDATE reservations SET used = ?, strong_tokens = ?, cost = MAX(cost, ?), hour = ? WHERE id = ?",
            [(row.used, row.strong_tokens, row.used, row.hour, row.id) for row in rows],
        )

    def delete(self, db: sqlite3.Connection, id: str) -> None:
        """The request is settled."""
        db.execute("DELETE FROM reservations WHERE id = ?", (id,))

    def limited(self, db: sqlite3.Connection, key: str, limits: KeyLimits, now: float) -> Refusal | None:
        """Take a request from a key's limits; says which one is reached."""
        if limits.at_once is not None:
            (running,) = db.execute("SELECT COUNT(*) FROM reservations WHERE key = ?", (key,)).fetchone()
            if running >= limits.at_once:
                return Refusal("at once")
        if limits.per_minute is None:
            return None
        size = float(limits.per_minute)
        left, at = db.execute("SELECT left, at FROM rates WHERE key = ?", (key,)).fetchone() or (size, now)
        left = min(size, left + max(0.0, now - at) * size / 60)
        if left >= 1:
            db.execute("INSERT OR REPLACE INTO rates VALUES (?, ?, ?)", (key, left - 1, now))
            return None
        return Refusal("per minute", (1 - left) * 60 / size if size else 60.0)

    def room(self, db: sqlite3.Connection, caps: Sequence[Cap], now: float, least: float) -> float | Refusal:
        """What the caps leave beside all that is spent and held; a refusal where that is less than `least`."""
        room = inf
        for cap in caps:
            hour = int(now // 3600) // cap.hours * cap.hours
            spent = self._sum(db, "SELECT TOTAL(cost) FROM spend WHERE hour >= :hour", cap.key, hour)
            held = self._sum(db, "SELECT TOTAL(MAX(cost, used)) FROM reservations WHERE 1", cap.key)
            if cap.limit - spent - held < least or spent >= cap.limit:
                wait = (hour + cap.hours) * 3600 - now
                return Refusal("cap", wait, cap, held=cap.limit - spent >= least and spent < cap.limit)
            room = min(room, cap.limit - spent - held)
        return room

    def extended(self, db: sqlite3.Connection, id: str, caps: Sequence[Cap], now: float, more: float) -> float:
        """Let a row hold more, as much of `more` as may be; returns how much."""
        room = self.room(db, caps, now, 0.0)
        given = 0.0 if isinstance(room, Refusal) else share(room, more, 0.0)
        db.execute("UPDATE reservations SET cost = cost + ? WHERE id = ?", (given, id))
        return given

    def recover(self, db: sqlite3.Connection, owner: str, recovery: Recovery) -> list[Reservation]:
        """Settle what a process has left that has ended: as all that it held, or as what was counted until then."""
        rows = db.execute(
            "SELECT id, key, hour, cost, used, strong_tokens FROM reservations WHERE owner = ?", (owner,)
        ).fetchall()
        left = [Reservation(*row) for row in rows]
        for row in left:
            spent = max(row.cost, row.used) if recovery == "reserved" else row.used
            if row.cost or row.used:
                db.execute(ADD, (row.hour, row.key, spent, row.strong_tokens, 1))
        db.execute("DELETE FROM reservations WHERE owner = ?", (owner,))
        db.execute("DELETE FROM owners WHERE name = ?", (owner,))
        return left

    @staticmethod
    def _sum(db: sqlite3.Connection, statement: str, key: str | None, hour: int = 0) -> float:
        of_key = "" if key is None else " AND key = :key"
        (total,) = db.execute(statement + of_key, {"key": key, "hour": hour}).fetchone()
        return float(total)


def share(room: float, wanted: float, least: float) -> float:
    """What a request gets of the room under a cap: all that it wants, where two such requests fit. Else half of the
    room, so that a few requests at the same time all get something, but `least` at least.
    """
    return min(wanted, room, max(room / 2, least))
