"""The usage store: spend per hour and key, what running requests hold of it, and the state of the target controllers.
SQLite.

Several processes may share a file. Everything is written by a thread of its own (`trim.server.store_writer`), so that
the event loop waits for no file; what is not yet written counts already. What is no amount never gets in, and is taken
out when a file is opened that has it: one such row would count for nothing or for everything from then on.

What is written survives the end of the process, kill -9 included. A power failure may cost the newest transactions
(`synchronous` is NORMAL), never the file.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trim.errors import ConfigError
from trim.private_files import make_file, make_folder, make_private
from trim.server.reservations import (
    ADD,
    SCHEMA,
    Cap,
    KeyLimits,
    Recovery,
    Refusal,
    Reservation,
    Reservations,
    share,
)
from trim.server.store_owner import StoreOwner
from trim.server.store_writer import StoreWriter
from trim.server.window_clock import Reading, WindowClock

logger = logging.getLogger("trim.server")
_BUSY_SECONDS = 0.5  # how long a try to write waits for another process; at the start, ten times that
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS spend (
    hour INTEGER, key TEXT, cost REAL, strong_tokens INTEGER, requests INTEGER, PRIMARY KEY (hour, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (name TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 0), time REAL, wall REAL, elapsed REAL, boot TEXT);
{SCHEMA}
"""  # `held` has the state of the target controllers; version 0.1 named it so, and its files are still read
_MOST = 1e15  # of a cost or a count in a row
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


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over some hours. `cost` is in dollars."""

    cost: float = 0.0
    strong_tokens: int = 0
    requests: int = 0

    def sound(self) -> UsageTotals:
        """The same with 0 for what is no amount."""
        return UsageTotals(_amount(self.cost), int(_amount(self.strong_tokens)), int(_amount(self.requests)))


@dataclass(frozen=True, slots=True)
class _Unwritten:
    """A charge that is not in the file yet; `number` counts those of this process."""

    number: int
    hour: int
    key: str
    used: UsageTotals


class UsageStore:
    """Spend and controller states in a file, or in memory if there is no path.

    Args:
        path: of the file; made with its folder if it does not exist.
        clock: seconds since 1970.
        elapsed: seconds that pass whatever is done to that clock, see `WindowClock`.
        recovery: what a process that ended without settling its requests is charged: all that they had reserved, or
            what was counted until then.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(
        self,
        path: str = "",
        clock: Callable[[], float] = time.time,
        *,
        elapsed: Callable[[], float] | None = None,
        recovery: Recovery = "reserved",
    ) -> None:
        self._clock = WindowClock(clock, elapsed)
        self._numbers = 0
        self._unwritten: deque[_Unwritten] = deque()
        self._unsaved: dict[str, dict[str, Any]] = {}
        self._noted: dict[str, Reservation] = {}
        self._known: dict[tuple[int, str | None], tuple[int, UsageTotals]] = {}  # as last read
        self._lock = threading.Lock()  # of these
        shared = threading.Lock()  # of a connection that is read and written
        owner: StoreOwner | None = None
        try:
            if path:
                make_folder(Path(path).parent)
                make_file(Path(path))  # SQLite gives the files that it makes beside it the same mode
                for end in ("-wal", "-shm"):
                    make_private(Path(path + end))
            self._owner = owner = StoreOwner(path)
            self._rows = Reservations(self._owner.name)
            self._db = _connect(path, 10 * _BUSY_SECONDS)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._db.execute("BEGIN IMMEDIATE")
            self._begin(recovery)
            self._db.execute("COMMIT")
            self._db.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")
            self._reader = _connect(path, 0.0) if path else self._db
        except (sqlite3.Error, OSError) as error:
            if owner is not None:
                owner.close()
            raise ConfigError(f"[serve] state {path!r} cannot be opened: {error}") from None
        self._reading = threading.Lock() if path else shared
        self._writer = StoreWriter(self._db, shared, self._before, lambda: bool(self._noted))
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
            charge = _Unwritten(self._numbers, self.hour(), key, sound)
            self._unwritten.append(charge)
            self._noted.pop(reservation, None)
            written = self._writer.submit(lambda db: self._write(db, charge, reservation))
        written.add_done_callback(lambda _: self._is_written(charge))

    def totals(self, first_hour: int, key: str | None = None) -> UsageTotals:
        """What was used from that hour on, by all keys or by one."""
        with self._lock:
            unwritten = [each for each in self._unwritten if each.hour >= first_hour and key in (None, each.key)]
        written, stored = self._read_totals(first_hour, key)
        late = [each.used for each in unwritten if each.number > written]
        cost = stored.cost + sum(each.cost for each in late)
        strong_tokens = stored.strong_tokens + sum(each.strong_tokens for each in late)
        return UsageTotals(cost, strong_tokens, stored.requests + sum(each.requests for each in late))

    def reserved(self) -> float:
        """What all running requests hold."""
        rows = self._read("SELECT TOTAL(MAX(cost, used)) FROM reservations", ())
        return float(rows[0][0]) if rows else 0.0

    # Reservations -----------------------------------------------------------------------------------------------

    def arrive(self, id: str, key: str, limits: KeyLimits, caps: Sequence[Cap], least: float) -> Future[Refusal | None]:
        """A request has come: it counts towards the limits of its key from now on, or is refused. `least`: what it
        needs to be of use.
        """

        def write(db: sqlite3.Connection) -> Refusal | None:
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

        def write(db: sqlite3.Connection) -> float | Refusal:
            now = self.clock()
            room = self._rows.room(db, caps, now, least)
            if isinstance(room, Refusal):
                self._rows.delete(db, id)
                return room
            given = share(room, min(wanted, _MOST), least)
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
        self._writer.submit(lambda db: self._rows.delete(db, id))

    @property
    def blocked(self) -> bool:
        """Whether the file cannot be written now."""
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

        def write(db: sqlite3.Connection) -> dict[str, Any]:
            row = db.execute("SELECT state FROM held WHERE name = ?", (name,)).fetchone()
            changed = change(None if row is None else _state(row[0]))
            db.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (name, json.dumps(changed)))
            return changed

        with self._lock:
            self._unsaved[name] = expected
        saved = self._writer.submit(write)
        saved.add_done_callback(lambda _: self._is_saved(name, expected))
        return saved

    def save_state(self, name: str, state: dict[str, Any]) -> None:
        """Store the state of a target controller, whatever is stored."""
        self.change_state(name, state, lambda _: state)

    def load_state(self, name: str) -> dict[str, Any] | None:
        """What is stored; None: nothing."""
        with self._lock:
            if (unsaved := self._unsaved.get(name)) is not None:
                return unsaved
        rows = self._read("SELECT state FROM held WHERE name = ?", (name,))
        return _state(rows[0][0]) if rows else None

    def close(self) -> None:
        """Write what is not yet written and close the file."""
        name = self._owner.name
        self._writer.submit(lambda db: db.execute("DELETE FROM owners WHERE name = ?", (name,)).rowcount)
        self._writer.close()
        if self._path:
            self._reader.close()
        self._db.close()
        self._owner.close()

    # Inside -----------------------------------------------------------------------------------------------------

    def _begin(self, recovery: Recovery) -> None:
        """Repair what is in a file, go on from its time, and settle what processes that have ended have left."""
        db = self._db
        stored = db.execute("SELECT time, wall, elapsed, boot FROM clock").fetchone()
        if stored is not None and (reading := Reading.restored(stored)) is not None:
            self._clock.resume(reading)
        self._repair()
        for (owner,) in db.execute("SELECT DISTINCT owner FROM reservations UNION SELECT name FROM owners").fetchall():
            if not self._owner.has_ended(str(owner)):
                continue
            left = self._rows.recover(db, owner, recovery)
            self._owner.remove(str(owner))
            if left:
                words = "%d requests that a process had left without settling are charged %g, %s"
                spent = sum(max(row.cost, row.used) if recovery == "reserved" else row.used for row in left)
                logger.warning(words, len(left), spent, _RECOVERED[recovery])
        self._move_future()
        db.execute("INSERT INTO owners VALUES (?, 0)", (self._owner.name,))

    def _move_future(self) -> None:
        """Spend in hours that are yet to come, written while a clock was wrong, is spend of this hour."""
        now, later = self.hour(), "SELECT key, cost, strong_tokens, requests FROM spend WHERE hour > ?"
        rows = self._db.execute(later, (now,)).fetchall()
        self._db.execute("DELETE FROM spend WHERE hour > ?", (now,))
        self._db.executemany(ADD, [(now, *row) for row in rows])

    def _repair(self) -> None:
        """Take out of a file what is no amount, no hour and no state."""
        db, limits = self._db, {"most": _MOST, "hour": _LATEST}
        rows = db.execute(_UNSOUND, limits).fetchall()
        for hour, key, *amounts in rows:
            db.execute("DELETE FROM spend WHERE hour IS ? AND key IS ?", (hour, key))
            if isinstance(hour, int) and 0 <= hour <= _LATEST:
                db.execute(ADD, (hour, key, *asdict(UsageTotals(*amounts).sound()).values()))
        db.execute(_UNSOUND_ROWS, limits)
        db.execute("DELETE FROM rates WHERE typeof(left) != 'real' OR typeof(at) != 'real' OR abs(left) > 1e15")
        held = db.execute("SELECT name, CAST(state AS BLOB) FROM held").fetchall()
        states = [(name,) for name, state in held if _state(state) is None]
        if rows or states:
            db.executemany("DELETE FROM held WHERE name = ?", states)
            words = "the usage store was repaired: %d rows of spend and %d states of controllers were not valid"
            logger.warning(words, len(rows), len(states))

    def _before(self, db: sqlite3.Connection) -> None:
        """Begins every transaction: one time for all processes, and what requests have used so far."""
        if not self._path:
            return
        stored = db.execute("SELECT time, wall, elapsed, boot FROM clock").fetchone()
        if stored is not None and (reading := Reading.restored(stored)) is not None:
            self._clock.follow(reading)
        now = self._clock.read()
        values = (now.time, now.wall, now.elapsed, now.boot)
        db.execute("INSERT OR REPLACE INTO clock VALUES (0, ?, ?, ?, ?)", values)
        with self._lock:
            noted, self._noted = self._noted, {}
        try:
            self._rows.note(db, list(noted.values()))
        except sqlite3.Error:
            with self._lock:
                self._noted = noted | self._noted
            raise

    def _write(self, db: sqlite3.Connection, charge: _Unwritten, reservation: str) -> None:
        try:
            if charge.used != UsageTotals():
                db.execute(ADD, (charge.hour, charge.key, *asdict(charge.used).values()))
        except ValueError as error:  # a name that UTF-8 cannot write: the charges behind it are not held up
            logger.error("a charge of %s cannot be written to the usage store: %s", charge.used, error)
        if reservation:
            self._rows.delete(db, reservation)
        db.execute("UPDATE owners SET written = ? WHERE name = ?", (charge.number, self._owner.name))

    def _is_written(self, charge: _Unwritten) -> None:
        with self._lock:
            while self._unwritten and self._unwritten[0].number <= charge.number:
                self._unwritten.popleft()

    def _is_saved(self, name: str, state: dict[str, Any]) -> None:
        with self._lock:
            if self._unsaved.get(name) is state:
                del self._unsaved[name]

    def _read_totals(self, first_hour: int, key: str | None) -> tuple[int, UsageTotals]:
        """How many charges of this process the file has, and what it has of that hour on; what it had when it was last
        read, where it cannot be read now.
        """
        rows = self._read(
            "SELECT (SELECT written FROM owners WHERE name = ?), TOTAL(cost), TOTAL(strong_tokens), TOTAL(requests) "
            "FROM spend WHERE hour >= ? AND (? IS NULL OR key = ?)",
            (self._owner.name, first_hour, key, key),
        )
        if not rows:
            return self._known.get((first_hour, key), (0, UsageTotals()))
        written, cost, strong_tokens, requests = rows[0]
        found = int(written or 0), UsageTotals(cost, int(strong_tokens), int(requests))
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[first_hour, key] = found
        return found

    def _read(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Rows; none where another process keeps the file to itself."""
        with self._reading:
            try:
                return self._reader.execute(statement, values).fetchall()
            except sqlite3.OperationalError:
                return []


_RECOVERED: dict[Recovery, str] = {
    "reserved": "all that they had reserved",
    "counted": "what was counted until then",
}


def _connect(path: str, seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(path or ":memory:", isolation_level=None, timeout=seconds, check_same_thread=False)


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
