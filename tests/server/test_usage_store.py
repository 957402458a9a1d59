"""No charge is lost, and files of earlier versions are read."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.server.conftest import OpenStore
from tests.server.gateway import ask, serving, simulated
from trim.policies import Threshold
from trim.server.auth import ANONYMOUS
from trim.server.budget_controller import TargetControllers
from trim.server.usage_store import UsageTotals


def test_no_charge_is_lost_between_threads(open_store: OpenStore) -> None:
    """Without a lock, a statement of one thread is silently lost while another thread reads."""
    usage = open_store()

    def charge() -> None:
        for _ in range(2000):
            usage.charge("everybody", UsageTotals(0.5, 3, 1))

    with ThreadPoolExecutor(2) as pool:
        charging = [pool.submit(charge) for _ in range(2)]
        while not all(one.done() for one in charging):
            assert usage.totals(0).requests <= 4000
    for one in charging:
        one.result()
    assert usage.totals(0) == UsageTotals(2000.0, 12000, 4000)


def test_no_charge_is_lost_while_the_file_is_locked(tmp_path: Path, open_store: OpenStore) -> None:
    path = tmp_path / "state.db"
    with serving(simulated(state=str(path), spend_per_hour=1.0)) as served:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            first = served.post(ask()).json()["trim"]["cost"]
            assert served.spent(1).cost == pytest.approx(first)  # counted, though not written
            other.execute("ROLLBACK")
            assert other.execute("SELECT COUNT(*) FROM spend").fetchone() == (0,)
        second = served.post(ask()).json()["trim"]["cost"]
        served.spent(2)
    written = open_store(str(path)).totals(0)
    assert written.cost == pytest.approx(first + second)
    assert written.requests == 2


def test_a_file_of_version_0_1_is_read_and_continued(tmp_path: Path, open_store: OpenStore) -> None:
    """The statements are those by which version 0.1 made and filled its files."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript(
            "PRAGMA journal_mode=WAL;"
            "CREATE TABLE spend (hour INTEGER, key TEXT, cost REAL, strong_tokens INTEGER, requests INTEGER, "
            "PRIMARY KEY (hour, key)) WITHOUT ROWID;"
            "CREATE TABLE held (name TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID;"
            "INSERT INTO spend VALUES (480000, 'everybody', 1.5, 300, 7);"
        )
        state = {"effort": 0.31, "strong_tokens": 40, "tokens": 100, "answers": 3, "full": 0.5, "seconds": 2.0}
        old.execute("INSERT INTO held VALUES ('threshold 0.3', ?)", (json.dumps(state | {"scores": [0.5, 0.9]}),))
    usage = open_store(str(path), clock=lambda: 480_000 * 3600.0)
    assert usage.totals(480_000, ANONYMOUS.name) == UsageTotals(1.5, 300, 7)
    controller = TargetControllers(usage).get(Threshold(0.5), 0.3)
    assert asdict(controller.state) == state
    assert list(controller.scores) == [0.5, 0.9]
    usage.charge(ANONYMOUS.name, UsageTotals(0.5, 10, 1))
    usage.close()
    assert open_store(str(path)).totals(480_000) == UsageTotals(2.0, 310, 8)
