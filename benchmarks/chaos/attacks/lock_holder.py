"""Another process that keeps the usage store to itself, again and again."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

from benchmarks.chaos.attack import Attack, Target

_HELD = 4.0  # seconds; requests wait for two of them
_PAUSE = 2.0


async def _lock(db: sqlite3.Connection) -> None:
    while True:
        try:
            db.execute("BEGIN EXCLUSIVE")
            return
        except sqlite3.OperationalError:  # the gateway has it
            await asyncio.sleep(0.005)


class LockHolder(Attack):
    name = "lock on the usage store"
    expects = "requests wait, then 503; health as before; no charge is lost"
    spares_answers = False

    async def run(self, target: Target) -> None:
        with closing(sqlite3.connect(target.folder / "state.db", isolation_level=None, timeout=0)) as db:
            while True:
                await _lock(db)
                try:
                    await asyncio.sleep(_HELD)
                    self.seen["locks"] += 1
                finally:
                    db.execute("ROLLBACK")
                await asyncio.sleep(_PAUSE)
