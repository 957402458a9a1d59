"""What the usage store needs of a database: SQLite's file on one machine, or PostgreSQL for several.

Statements are those that both know, with `?` for a value. A thread of its own (`trim.server.store_writer`) runs them
in transactions that no other process's overlaps; what the event loop asks for (`totals`, `reserved`, `state`) waits
for nobody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trim.server.window_clock import WindowClock

Value = str | int | float | None
MOST = 1e15  # of a cost or a count in a row
ADD = (
    "INSERT INTO spend (hour, key, cost, strong_tokens, requests) VALUES (?, ?, ?, ?, ?) ON CONFLICT (hour, key) "
    "DO UPDATE SET cost = spend.cost + excluded.cost, requests = spend.requests + excluded.requests, "
    "strong_tokens = spend.strong_tokens + excluded.strong_tokens"
)
HELD = "SELECT COALESCE(SUM(CASE WHEN cost > used THEN cost ELSE used END), 0.0) FROM reservations"


class StoreUnavailable(Exception):
    """The database cannot be used now, and may be later: another process has locked it, or it does not answer."""


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over some hours. `cost` is in dollars."""

    cost: float = 0.0
    strong_tokens: int = 0
    requests: int = 0

    def sound(self) -> UsageTotals:
        """The same with 0 for what is no amount."""
        return UsageTotals(_amount(self.cost), int(_amount(self.strong_tokens)), int(_amount(self.requests)))

    def __add__(self, other: UsageTotals) -> UsageTotals:
        return UsageTotals(
            self.cost + other.cost, self.strong_tokens + other.strong_tokens, self.requests + other.requests
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request has cost; `number` counts those of this process."""

    number: int
    hour: int
    key: str
    used: UsageTotals


class Rows(Protocol):
    """What a statement has found."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> tuple[Any, ...] | None: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...


class Transaction(Protocol):
    """Runs statements, all or none of which are written.

    Raises:
        StoreUnavailable: begin anew later.
    """

    def execute(self, statement: str, values: Sequence[Value] = ()) -> Rows: ...

    def execute_many(self, statement: str, values: Sequence[Sequence[Value]]) -> None: ...


class StoreDatabase(Transaction, Protocol):
    """A database with the tables of the usage store: `spend`, `held` (states of target controllers), `clock`,
    `reservations`, `recovered`, `owners` (processes that use it), `rates` and `circuits` (that have opened).
    """

    name: str
    """Of this process, in the rows that it owns."""

    def clock(self) -> WindowClock:
        """The time by which windows are told apart."""
        ...

    def begin(self) -> bool:
        """Begin a transaction; says whether it is time to look at what other processes have done.

        Raises:
            StoreUnavailable: that cannot be done now.
        """
        ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    @property
    def due(self) -> bool:
        """Whether a transaction should be begun although nothing is to be written."""
        ...

    def repair(self) -> None:
        """Take out what is no amount, no hour and no state."""
        ...

    def ended(self) -> list[str]:
        """Processes that were found to have ended, and whose rows nobody has settled."""
        ...

    def totals(self, first_hour: int, key: str | None) -> tuple[int, UsageTotals]:
        """What was used from that hour on, and how many charges of this process that has. The hours of the last two
        days are known at least.
        """
        ...

    def reserved(self) -> float:
        """What all running requests hold."""
        ...

    def state(self, name: str) -> str | bytes | None:
        """A stored state of a target controller; None: there is none."""
        ...

    def circuits(self) -> dict[str, tuple[int, str]]:
        """How often each circuit has opened, and in which process last."""
        ...

    def charged(self, charge: Charge) -> None:
        """A charge of this process is written."""
        ...

    def saved(self, name: str, state: str) -> None:
        """A state is written."""
        ...

    def close(self) -> None:
        """End the use by this process."""
        ...


def _amount(value: object) -> float:
    """A number that can be charged; 0 for anything else."""
    if isinstance(value, int | float) and 0 <= value <= MOST:  # which NaN is not either
        return value
    return 0


def stored_state(stored: str | bytes | None) -> dict[str, Any] | None:
    """The JSON object of a stored state; None: it is none, or has numbers that are not finite."""
    try:
        state = json.loads(stored or "")
        json.dumps(state, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return None
    return state if isinstance(state, dict) else None
