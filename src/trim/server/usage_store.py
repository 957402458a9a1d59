"""The usage store: spend per hour and key, what running requests hold of it, and the state of the target controllers.

Several processes may share one: a file of SQLite on one machine, or PostgreSQL on several
(`trim.server.store_database`). Everything is written by a thread of its own (`trim.server.store_writer`), so that the
event loop waits for no file and no server; what is not yet written counts already. What is no amount never gets in, and
is taken out when a file is opened that has it: one such row would count for nothing or for everything from then on.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib.util import find_spec
from typing import Any

from trim.errors import ConfigError, MissingExtra
from trim.server.reservations import Cap, KeyLimits, Recovery, Refusal, Reservation, Reservations, share
from trim.server.sqlite_database import SqliteDatabase
from trim.server.store_database import (
    ADD,
    MOST,
    Charge,
    StoreDatabase,
    StoreUnavailable,
    Transaction,
    UsageTotals,
    stored_state,
)
from trim.server.store_writer import StoreWriter
from trim.server.window_clock import Reading, WindowClock

__all__ = ["UsageStore", "UsageTotals"]
logger = logging.getLogger("trim.server")
_OPEN_SECONDS = 5.0  # how long to wait for a database that is locked at the start
_PAUSE = 0.05
_LOOK_SECONDS = 0.3  # between two looks at what circuits have opened elsewhere
POSTGRES = ("postgresql://", "postgres://")


class UsageStore:
    """Spend, reservations and controller states in a database, or in memory if none is named.

    Args:
        path: of a file, which is made with its folder if it does not exist; or a URL of PostgreSQL.
        clock: seconds since 1970; None: the machine's, or that of PostgreSQL.
        elapsed: seconds that pass whatever is done to that clock, see `WindowClock`.
        recovery: what a process that ended without settling its requests is charged: all that they had reserved, or
            what was counted until then.

    Raises:
        ConfigError: the database cannot be used.
    """

    def __init__(
        self,
        path: str = "",
        clock: Callable[[], float] | None = None,
        *,
        elapsed: Callable[[], float] | None = None,
        recovery: Recovery = "reserved",
    ) -> None:
        self._database = database = opened_database(path)
        self._clock = database.clock() if clock is None else WindowClock(clock, elapsed)
        self._recovery = recovery
        self._rows = Reservations(database.name)
        self._numbers = 0
        self._unwritten: deque[Charge] = deque()
        self._unsaved: dict[str, dict[str, Any]] = {}
        self._noted: dict[str, Reservation] = {}
        self._noting: dict[str, Reservation] = {}
        self._lock = threading.Lock()  # of these
        self._looked = 0.0
        self._hear: Callable[[str], object] = lambda name: None
        try:
            self._begin()
        except (StoreUnavailable, sqlite3.Error) as error:
            database.close()
            raise ConfigError(f"[serve] state {_shown(path)} cannot be opened: {error}") from None
        self._circuits = database.circuits()  # as last seen
        self._writer = StoreWriter(database, self._before, self._after, lambda: bool(self._noted), self._look)
        self._path = path

    # Time -------------------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """Seconds since 1970, which jumps of the machine's clock do not move."""
        return self._clock.now()

    def hour(self) -> int:
        """Hours since 1970, UTC. A day is the 24 of them with the same quotient by 24."""
        return int(self.clock() // 3600)

    # Spend ------------------------------------------------------------------------------------------------------

    def charge(self, key: str, used: UsageTotals, reservation: str = "") -> None:
        """Add to the current hour, and end a reservation. What cannot be written now counts at once and is written
        later.
        """
        sound = used.sound()
        if sound != used:
            logger.error("a charge for %s that cannot be right is counted as %s: %s", key, sound, used)
        with self._lock:
            self._numbers += 1
            charge = Charge(self._numbers, self.hour(), key, sound)
            self._unwritten.append(charge)
            self._noted.pop(reservation, None)
            written = self._writer.submit(lambda db: self._write(db, charge, reservation))
        written.add_done_callback(lambda done: self._is_written(charge, done))

    def totals(self, first_hour: int, key: str | None = None) -> UsageTotals:
        """What was used from that hour on, by all keys or by one."""
        with self._lock:
            unwritten = [each for each in self._unwritten if each.hour >= first_hour and key in (None, each.key)]
        written, stored = self._database.totals(first_hour, key)
        return sum((each.used for each in unwritten if each.number > written), stored)

    def reserved(self) -> float:
        """What all running requests hold."""
        return self._database.reserved()

    # Reservations -----------------------------------------------------------------------------------------------

    def arrive(self, id: str, key: str, limits: KeyLimits, caps: Sequence[Cap], least: float) -> Future[Refusal | None]:
        """A request has come: it counts towards the limits of its key from now on, or is refused. `least`: what it
        needs to be of use.
        """

        def write(db: Transaction) -> Refusal | None:
            now = self.clock()
            room = self._rows.room(db, caps, now, least)
            refusal = room if isinstance(room, Refusal) else self._rows.limited(db, key, limits, now)
            if refusal is None:
                self._rows.write(db, Reservation(id, key, int(now // 3600)))
            return refusal

        return self._writer.submit(write)

    def reserve(
        self, id: str, key: str, wanted: float, *, least: float, caps: Sequence[Cap]
    ) -> Future[float | Refusal]:
        """Hold what a request may spend: `wanted` or, near a cap, what it gets of the rest; refused where that is less
        than `least`.
        """

        def write(db: Transaction) -> float | Refusal:
            now = self.clock()
            room = self._rows.room(db, caps, now, least)
            if isinstance(room, Refusal):
                self._rows.settle(db, id)
                return room
            given = share(room, min(wanted, MOST), least)
            self._rows.write(db, Reservation(id, key, int(now // 3600), given))
            return given

        return self._writer.submit(write)

    def extend(self, id: str, more: float, caps: Sequence[Cap]) -> Future[float]:
        """Let a reservation hold more; the future has how much."""
        return self._writer.submit(lambda db: self._rows.extended(db, id, caps, self.clock(), more))

    def note(self, id: str, key: str, used: UsageTotals) -> None:
        """Note what a running request has used so far; written within a tenth of a second."""
        sound = used.sound()
        if self._path:
            row = Reservation(id, key, self.hour(), 0.0, sound.cost, sound.strong_tokens)
            with self._lock:
                self._noted[id] = row

    def release(self, id: str) -> None:
        """A request has ended before it cost anything."""
        with self._lock:
            self._noted.pop(id, None)
        self._writer.submit(lambda db: self._rows.settle(db, id))

    @property
    def blocked(self) -> bool:
        """Whether the database cannot be written now."""
        return self._writer.blocked

    # States -----------------------------------------------------------------------------------------------------

    def change_state(
        self, name: str, expected: dict[str, Any], change: Callable[[dict[str, Any] | None], dict[str, Any]]
    ) -> Future[dict[str, Any]]:
        """Change the stored state of a target controller, which other processes may have changed too.

        Args:
            name: of the state.
            expected: the new state, if none has.
            change: makes the new state of the stored one; None: none is stored.
        """

        def write(db: Transaction) -> dict[str, Any]:
            row = db.execute("SELECT state FROM held WHERE name = ?", (name,)).fetchone()
            changed = change(None if row is None else stored_state(row[0]))
            saved = (
                "INSERT INTO held (name, state) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state"
            )
            db.execute(saved, (name, json.dumps(changed)))
            return changed

        with self._lock:
            self._unsaved[name] = expected
        saved = self._writer.submit(write)
        saved.add_done_callback(lambda done: self._is_saved(name, expected, done))
        return saved

    def save_state(self, name: str, state: dict[str, Any]) -> None:
        """Store the state of a target controller, whatever is stored."""
        self.change_state(name, state, lambda _: state)

    def load_state(self, name: str) -> dict[str, Any] | None:
        """What is stored; None: nothing."""
        with self._lock:
            if (unsaved := self._unsaved.get(name)) is not None:
                return unsaved
        return stored_state(self._database.state(name))

    # Circuits ---------------------------------------------------------------------------------------------------

    def open_circuit(self, name: str) -> None:
        """A circuit of this process has opened; those of that name in other processes shall."""
        opened = (
            "INSERT INTO circuits (name, opened, owner) VALUES (?, 1, ?) "
            "ON CONFLICT (name) DO UPDATE SET opened = circuits.opened + 1, owner = excluded.owner"
        )
        self._writer.submit(lambda db: db.execute(opened, (name, self._database.name)).rowcount)

    def hear_circuits(self, opened: Callable[[str], object]) -> None:
        """Call this, in a thread of the store's, within a second of a circuit's opening in another process."""
        self._hear = opened

    def close(self) -> None:
        """Write what is not yet written and close the database."""
        name = self._database.name
        self._writer.submit(lambda db: db.execute("DELETE FROM owners WHERE name = ?", (name,)).rowcount)
        self._writer.close()
        self._database.close()

    # Inside -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Repair what is there, go on from its time, and settle what processes that have ended have left."""
        db, give_up = self._database, time.monotonic() + _OPEN_SECONDS
        while True:
            try:
                db.begin()
                break
            except StoreUnavailable:
                if time.monotonic() > give_up:
                    raise
                time.sleep(_PAUSE)
        try:
            if (reading := self._stored_time(db)) is not None:
                self._clock.resume(reading)
            db.repair()
            self._recover(db)
            self._move_future(db)
            listed = "INSERT INTO owners (name, written) VALUES (?, 0) ON CONFLICT (name) DO NOTHING"
            db.execute(listed, (db.name,))
            db.commit()
        except BaseException:
            db.rollback()
            raise

    def _recover(self, db: Transaction) -> None:
        """Settle what processes that have ended have left."""
        for owner in self._database.ended():
            if left := self._rows.recover(db, owner, self._recovery, self.hour()):
                words = "%d requests that a process had left without settling are charged %g, %s"
                spent = sum(row.charged(self._recovery) for row in left)
                logger.warning(words, len(left), spent, _RECOVERED[self._recovery])

    def _move_future(self, db: Transaction) -> None:
        """Spend in hours that are yet to come, written while a clock was wrong, is spend of this hour."""
        now, later = self.hour(), "SELECT key, cost, strong_tokens, requests FROM spend WHERE hour > ?"
        rows = db.execute(later, (now,)).fetchall()
        db.execute("DELETE FROM spend WHERE hour > ?", (now,))
        for row in rows:
            db.execute(ADD, (now, *row))

    @staticmethod
    def _stored_time(db: Transaction) -> Reading | None:
        row = db.execute("SELECT time, wall, elapsed, boot FROM clock").fetchone()
        return None if row is None else Reading.restored(row)

    def _before(self, db: Transaction, exchange: bool) -> None:
        """Begins every transaction: one time for all processes, what requests have used so far, and whose process has
        ended.
        """
        if exchange:
            self._exchange_time(db)
            self._recover(db)
        with self._lock:
            self._noting = dict(self._noted)
        self._rows.note(db, list(self._noting.values()))

    def _exchange_time(self, db: Transaction) -> None:
        if (reading := self._stored_time(db)) is not None:
            self._clock.follow(reading)
        now = self._clock.read()
        stored = (
            "INSERT INTO clock (id, time, wall, elapsed, boot) VALUES (0, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "time = excluded.time, wall = excluded.wall, elapsed = excluded.elapsed, boot = excluded.boot"
        )
        db.execute(stored, (now.time, now.wall, now.elapsed, now.boot))

    def _after(self) -> None:
        """What was noted is written."""
        with self._lock:
            for id, row in self._noting.items():
                if self._noted.get(id) is row:
                    del self._noted[id]
            self._noting = {}

    def _look(self) -> None:
        """Tell what circuits have opened elsewhere."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        before, now = self._circuits, self._database.circuits()
        if now:  # else they could not be read
            self._circuits = now
        for name, (count, owner) in now.items():
            if owner != self._database.name and count != before.get(name, (0, ""))[0]:
                self._hear(name)

    def _write(self, db: Transaction, charge: Charge, reservation: str) -> None:
        """Once only, also where a transaction was written that seemed to have failed."""
        counted = "UPDATE owners SET written = ? WHERE name = ? AND written < ?"
        if not db.execute(counted, (charge.number, self._database.name, charge.number)).rowcount:
            return
        used = charge.used
        try:
            if used != UsageTotals():
                db.execute(ADD, (charge.hour, charge.key, used.cost, used.strong_tokens, used.requests))
        except ValueError as error:  # a name that UTF-8 cannot write: its reservation ends all the same
            logger.error("a charge of %s cannot be written to the usage store: %s", used, error)
        if reservation:
            self._rows.settle(db, reservation)

    def _is_written(self, charge: Charge, done: Future[None]) -> None:
        if (error := done.exception()) is None:
            self._database.charged(charge)
        else:
            logger.error("a charge of %s cannot be written to the usage store: %s", charge.used, error)
        with self._lock:
            while self._unwritten and self._unwritten[0].number <= charge.number:
                self._unwritten.popleft()

    def _is_saved(self, name: str, state: dict[str, Any], done: Future[dict[str, Any]]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._database.saved(name, json.dumps(done.result()))
        with self._lock:
            if self._unsaved.get(name) is state:
                del self._unsaved[name]


_RECOVERED: dict[Recovery, str] = {
    "reserved": "all that they had reserved",
    "counted": "what was counted until then",
}


def opened_database(path: str) -> StoreDatabase:
    """The database that a path or URL names. Raises ConfigError, MissingExtra."""
    if path.startswith(POSTGRES):
        if find_spec("psycopg") is None:
            raise MissingExtra("psycopg", "postgres")
        from trim.server.postgres_database import PostgresDatabase

        return PostgresDatabase(path)
    try:
        return SqliteDatabase(path)
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"[serve] state {path!r} cannot be opened: {error}") from None


def _shown(path: str) -> str:
    return "(PostgreSQL)" if path.startswith(POSTGRES) else repr(path)
