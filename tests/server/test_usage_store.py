"""No charge is lost, and files of earlier versions are read."""

from __future__ import annotations

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import OpenStore, becomes
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
    with serving(simulated(state=str(path))) as served:
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
    assert asdict(controller.state) == state | {"last": 0.0}
    assert list(controller.scores) == [0.5, 0.9]
    usage.charge(ANONYMOUS.name, UsageTotals(0.5, 10, 1))
    usage.close()
    assert open_store(str(path)).totals(480_000) == UsageTotals(2.0, 310, 8)


def test_a_cap_needs_the_file(tmp_path: Path) -> None:
    """What cannot be reserved is not spent; nothing else waits for the lock."""
    path = tmp_path / "state.db"
    with serving(simulated(state=str(path), spend_per_hour=1.0)) as served:
        with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
            other.execute("BEGIN IMMEDIATE")
            refused = pool.submit(served.post, ask())
            while not refused.done():
                started = time.monotonic()
                assert served.get("/healthz").status_code == 200
                assert served.get("/metrics").status_code == 200
                assert time.monotonic() - started < 0.4
            assert (refused.result().status_code, refused.result().headers["retry-after"]) == (503, "1")
            other.execute("ROLLBACK")
        assert served.post(ask()).status_code == 200
        assert served.spent(1).requests == 1


def test_a_circuit_that_opens_is_heard_of_elsewhere_once(place: str, open_store: OpenStore) -> None:
    heard: list[tuple[str, str]] = []
    one, other = open_store(place), open_store(place)
    one.hear_circuits(lambda name: heard.append(("one", name)))
    other.hear_circuits(lambda name: heard.append(("other", name)))
    one.open_circuit("strong")
    becomes(lambda: heard, [("other", "strong")])
    other.open_circuit("strong")
    becomes(lambda: heard, [("other", "strong"), ("one", "strong")])
    late = open_store(place)
    late.hear_circuits(lambda name: heard.append(("late", name)))
    one.open_circuit("weak")
    becomes(lambda: sorted(heard[2:]), [("late", "weak"), ("other", "weak")])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 10**30, "much", None])
def test_a_charge_that_is_no_amount_holds_up_no_other(
    value: Any, open_store: OpenStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "state.db")
    usage = open_store(path)
    usage.charge("everybody", UsageTotals(value, value, 1))
    usage.charge("\ud83d", UsageTotals(0.25, 5, 1))  # a name that cannot be written
    usage.charge("everybody", UsageTotals(0.5, 10, 1))
    assert usage.totals(0, "everybody") == UsageTotals(0.5, 10, 2)
    usage.close()
    assert open_store(path).totals(0) == UsageTotals(0.5, 10, 2)
    assert "cannot be right" in caplog.text


def test_a_poisoned_file_is_repaired_when_it_is_opened(
    tmp_path: Path, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "state.db")
    open_store(path).close()
    rows: list[tuple[Any, ...]] = [
        (480_000, "nan", float("nan"), 1, 1),  # SQLite stores NULL
        (480_000, "infinite", float("inf"), 2, 1),
        (480_000, "negative", -3.0, -4, 1),
        (480_000, "text", "much", "many", "one"),
        (480_000, "bytes", b"\xff", b"\xff", 1),
        (480_000, "huge", 1e300, 2**62, 1),
        (480_000, "fraction", 0.5, 3.7, 1.0),
        ("soon", "everybody", 100.0, 1, 1),
        (2**60, "everybody", 100.0, 1, 1),
        (480_000, "everybody", 1.5, 300, 7),
    ]
    good = {"effort": 0.31, "strong_tokens": 40, "tokens": 100, "answers": 3, "full": 0.5, "seconds": 2.0, "scores": []}
    states: list[tuple[str, Any]] = [
        ("good", json.dumps(good)),
        ("nan", json.dumps(good | {"effort": float("nan")})),
        ("no JSON", "{"),
        ("a list", "[]"),
        ("bytes", b"\xff"),
        ("nothing", None),
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.executemany("INSERT INTO spend VALUES (?, ?, ?, ?, ?)", rows)
        other.executemany("INSERT INTO held VALUES (?, ?)", states)
    for _ in range(2):
        usage = open_store(path, clock=lambda: 480_000 * 3600.0)
        assert usage.totals(0) == UsageTotals(2.0, 306, 13)
        assert usage.load_state("good") == good
        assert [usage.load_state(name) for name, _ in states[1:]] == [None] * 5
        usage.close()
    (record,) = caplog.records
    assert record.getMessage() == (
        "the usage store was repaired: 9 rows of spend and 5 states of controllers were not valid"
    )
    usage = open_store(path, clock=lambda: 480_000 * 3600.0)
    usage.charge("nan", UsageTotals(0.5, 1, 1))
    assert usage.totals(0, "nan") == UsageTotals(0.5, 2, 2)
