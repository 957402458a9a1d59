"""Reservations: what running requests may still spend, in the usage store, where all processes see it.

A row is written before a request's first call and holds what the request may spend in all; what it has used so far
stands beside that. Caps count what is spent and what is held. A row whose process has ended without settling it is
settled by another. Should that process have been cut off only, its own charge replaces that one. Everything here runs
inside a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from trim.server.store_database import ADD, HELD, Transaction, Value

Recovery = Literal["reserved", "counted"]

_KEPT_HOURS = 48  # how long a process that was cut off may take to come back


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

    def charged(self, recovery: Recovery) -> float:
        """What it costs if it is never settled."""
        return max(self.cost, self.used) if recovery == "reserved" else self.used


class Reservations:
    """The rows of one process.

    Args:
        owner: names the process.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def write(self, db: Transaction, row: Reservation) -> None:
        """Write a row, or write it anew."""
        db.execute(
            "INSERT INTO reservations (id, owner, key, hour, cost, used, strong_tokens) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET hour = excluded.hour, cost = excluded.cost, used = excluded.used, "
            "strong_tokens = excluded.strong_tokens",
            (row.id, self._owner, row.key, row.hour, row.cost, row.used, row.strong_tokens),
        )

    def note(self, db: Transaction, rows: Sequence[Reservation]) -> None:
        """Note what running requests have used so far, for the case that they are never settled."""
        if rows:
            db.execute_many(
                "UPDATE reservations SET used = ?, strong_tokens = ?, cost = CASE WHEN cost < ? THEN ? ELSE cost END, "
                "hour = ? WHERE id = ?",
                [(row.used, row.strong_tokens, row.used, row.used, row.hour, row.id) for row in rows],
            )

    def settle(self, db: Transaction, id: str) -> None:
        """The request is charged, or has cost nothing."""
        if db.execute("DELETE FROM reservations WHERE id = ?", (id,)).rowcount:
            return
        row = db.execute("SELECT hour, key, cost, strong_tokens FROM recovered WHERE id = ?", (id,)).fetchone()
        if row is not None:  # another process has charged it
            hour, key, cost, strong_tokens = row
            undo = (
                "UPDATE spend SET cost = CASE WHEN cost > ? THEN cost - ? ELSE 0 END, "
                "strong_tokens = strong_tokens - ?, requests = requests - 1 WHERE hour = ? AND key = ?"
            )
            db.execute(undo, (cost, cost, strong_tokens, hour, key))
            db.execute("DELETE FROM recovered WHERE id = ?", (id,))

    def limited(self, db: Transaction, key: str, limits: KeyLimits, now: float) -> Refusal | None:
        """Take a request from a key's limits; says which one is reached."""
        if limits.at_once is not None:
            running = db.execute("SELECT COUNT(*) FROM reservations WHERE key = ?", (key,)).fetchone()
            if running is not None and running[0] >= limits.at_once:
                return Refusal("at once")
        if limits.per_minute is None:
            return None
        size = float(limits.per_minute)
        left, at = db.execute('SELECT "left", at FROM rates WHERE key = ?', (key,)).fetchone() or (size, now)
        left = min(size, left + max(0.0, now - at) * size / 60)
        if left >= 1:
            taken = (
                'INSERT INTO rates (key, "left", at) VALUES (?, ?, ?) '
                'ON CONFLICT (key) DO UPDATE SET "left" = excluded."left", at = excluded.at'
            )
            db.execute(taken, (key, left - 1, now))
            return None
        return Refusal("per minute", (1 - left) * 60 / size if size else 60.0)

    def room(self, db: Transaction, caps: Sequence[Cap], now: float, least: float) -> float | Refusal:
        """What the caps leave beside all that is spent and held; a refusal where that is less than `least`."""
        room = inf
        for cap in caps:
            hour = int(now // 3600) // cap.hours * cap.hours
            spent, held = self._sums(db, cap.key, hour)
            if cap.limit - spent - held < least or spent >= cap.limit:
                wait = (hour + cap.hours) * 3600 - now
                return Refusal("cap", wait, cap, held=cap.limit - spent >= least and spent < cap.limit)
            room = min(room, cap.limit - spent - held)
        return room

    def extended(self, db: Transaction, id: str, caps: Sequence[Cap], now: float, more: float) -> float:
        """Let a row hold more, as much of `more` as may be; returns how much."""
        room = self.room(db, caps, now, 0.0)
        given = 0.0 if isinstance(room, Refusal) else share(room, more, 0.0)
        if db.execute("UPDATE reservations SET cost = cost + ? WHERE id = ?", (given, id)).rowcount:
            return given
        return 0.0  # another process has settled it

    def recover(self, db: Transaction, owner: str, recovery: Recovery, hour: int) -> list[Reservation]:
        """Settle what a process has left that has ended: as all that it held, or as what was counted until then."""
        rows = db.execute(
            "SELECT id, key, hour, cost, used, strong_tokens FROM reservations WHERE owner = ?", (owner,)
        ).fetchall()
        left = [Reservation(*row) for row in rows]
        for row in left:
            if row.cost or row.used:
                spent = row.charged(recovery)
                db.execute(ADD, (row.hour, row.key, spent, row.strong_tokens, 1))
                values = (row.id, row.key, row.hour, spent, row.strong_tokens)
                db.execute("INSERT INTO recovered (id, key, hour, cost, strong_tokens) VALUES (?, ?, ?, ?, ?)", values)
        if left:
            db.execute("DELETE FROM reservations WHERE owner = ?", (owner,))
        db.execute("DELETE FROM recovered WHERE hour < ?", (hour - _KEPT_HOURS,))
        return left

    @staticmethod
    def _sums(db: Transaction, key: str | None, hour: int) -> tuple[float, float]:
        """What was spent from that hour on, and what is held now."""
        spent, held = "SELECT COALESCE(SUM(cost), 0.0) FROM spend WHERE hour >= ?", HELD
        values: tuple[Value, ...] = (hour,)
        if key is not None:
            spent, held, values = f"{spent} AND key = ?", f"{held} WHERE key = ?", (hour, key, key)
        row = db.execute(f"SELECT ({spent}), ({held})", values).fetchone()
        return (0.0, 0.0) if row is None else (float(row[0]), float(row[1]))


def share(room: float, wanted: float, least: float) -> float:
    """What a request gets of the room under a cap: all that it wants, where two such requests fit. Else half of the
    room, so that a few requests at the same time all get something, but `least` at least.
    """
    return min(wanted, room, max(room / 2, least))
