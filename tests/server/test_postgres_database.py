"""Several gateways on one PostgreSQL: caps hold together, whatever ends, is cut off, or is started anew."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.server.conftest import OpenStore, becomes
from tests.server.counting_upstream import Habits
from tests.server.gateway import ask, serving, simulated
from tests.server.postgres import Postgres
from tests.server.real_gateway import real_gateway
from trim.errors import ConfigError, MissingExtra
from trim.server import usage_store
from trim.server.reservations import Cap
from trim.server.store_database import StoreUnavailable
from trim.server.usage_store import UsageStore, UsageTotals, opened_database

CAP = Cap(10.0, 1, None, "of the gateway for this hour")


@pytest.fixture
def url(postgres: Postgres) -> str:
    """Of a new database."""
    return postgres.new()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that end are noticed soon."""
    monkeypatch.setattr("trim.server.postgres_database.LEASE", 1.5)
    monkeypatch.setattr("trim.server.postgres_database.EVERY", 0.05)


def test_a_password_is_in_no_error(postgres: Postgres) -> None:
    wrong = [f"postgresql://trim:hunter2@/absent?host={postgres.folder}", "postgresql://trim:hunter2@127.0.0.1:1/x"]
    for given in [*wrong, "postgresql://trim:hunter2@/x?hunter2=hunter2"]:
        with pytest.raises(ConfigError, match=r"\[serve\] state") as raised:
            UsageStore(given)
        assert "hunter2" not in str(raised.value)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_store, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"\[postgres\]"):
        UsageStore("postgresql://localhost/x")


def test_hours_are_those_of_the_database(url: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica whose clock is wrong charges the hour that all others charge."""
    right = open_store(url)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400.0)
    wrong = open_store(url)
    assert wrong.hour() == right.hour() == int(now // 3600)
    wrong.charge("alice", UsageTotals(1.0, 1, 1))
    becomes(lambda: right.totals(right.hour()), UsageTotals(1.0, 1, 1))


def test_what_is_no_amount_is_refused_by_the_tables(url: str) -> None:
    database = opened_database(url)
    for amount in (float("nan"), float("inf"), -1.0, 1e300):
        database.begin()
        with pytest.raises(Exception, match="check constraint"):
            database.execute("INSERT INTO spend VALUES (?, ?, ?, ?, ?)", (480_000, "alice", amount, 1, 1))
        database.rollback()
    database.close()


def test_a_replica_that_was_cut_off_is_charged_once(
    url: str, quick: None, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requests are settled as all that they held; when it comes back, what they really cost takes that place."""
    one, other = open_store(url), open_store(url)
    assert one.reserve("a", "alice", 4.0, least=1.0, caps=(CAP,)).result(10) == 4.0
    with monkeypatch.context() as cut_off:
        cut_off.setattr(one._database, "begin", away)
        becomes(lambda: other.totals(0), UsageTotals(4.0, 0, 1))
        one.charge("alice", UsageTotals(1.5, 7, 1), "a")
        assert one.totals(0).requests >= 1
    becomes(lambda: other.totals(0), UsageTotals(1.5, 7, 1))
    assert one.extend("a", 1.0, (CAP,)).result(10) == 0.0
    becomes(lambda: one.totals(0), UsageTotals(1.5, 7, 1))


def away() -> bool:
    time.sleep(0.05)
    raise StoreUnavailable("cut off")


def test_a_charge_counts_once_though_its_commit_is_not_confirmed(
    url: str, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(url)
    database = store._database
    commit, calls = database.commit, [1]

    def unconfirmed() -> None:
        commit()
        if calls:
            calls.pop()
            raise StoreUnavailable("the connection is lost")

    monkeypatch.setattr(database, "commit", unconfirmed)
    store.charge("alice", UsageTotals(1.0, 3, 1))
    store.reserve("a", "alice", 1.0, least=1.0, caps=(CAP,)).result(10)
    assert not calls
    other = open_store(url)
    becomes(lambda: other.totals(0), UsageTotals(1.0, 3, 1))
    assert store.totals(0) == UsageTotals(1.0, 3, 1)


def test_a_gateway_goes_on_when_postgresql_was_away(url: str, postgres: Postgres, open_store: OpenStore) -> None:
    with serving(simulated(state=url, spend_per_hour=1.0)) as served:
        first = served.post(ask()).json()["trim"]["cost"]
        postgres.stop()
        served.gateway.usage.charge("everybody", UsageTotals(0.25, 5, 1))  # of a request that was under way
        refused = served.post(ask())
        started = time.monotonic()
        assert served.get("/healthz").status_code == served.get("/metrics").status_code == 200
        assert time.monotonic() - started < 1.0
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert served.spent(2).cost == pytest.approx(first + 0.25)
        postgres.start()
        becomes(lambda: served.gateway.usage.blocked, False)
        second = served.post(ask()).json()["trim"]["cost"]
        served.spent(3)
    store = open_store(url)
    assert store.totals(0).cost == pytest.approx(first + 0.25 + second)
    assert store.totals(0).requests == 3
    becomes(store.reserved, 0.0)


def test_two_gateways_share_a_cap_and_one_settles_what_the_other_left(
    url: str, tmp_path: Path, quick: None, open_store: OpenStore
) -> None:
    cap = 0.03
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    slow = Habits(token=0.002)
    serve = {"spend_per_hour": cap, "state": url}
    with real_gateway(tmp_path / "one", slow, **serve) as one, real_gateway(tmp_path / "other", slow, **serve) as other:
        for gateway in (one, other):
            gateway.start()
            gateway.ready()
        watching = open_store(
            url, clock=lambda: 1_700_000_600.0 + time.monotonic(), elapsed=lambda: 600.0 + time.monotonic()
        )  # as the clocks of the gateways
        limit = time.monotonic() + 20
        while not (one.cost and other.cost):
            assert time.monotonic() < limit
            for gateway in (one, other):
                gateway.ask(seed=1)
            time.sleep(0.02)
        one.end(signal.SIGKILL)
        assert {200} <= {*other.wait()} <= {200, 429, 503}
        one.asked.clear()
        assert 0 < one.cost + other.cost <= cap
        becomes(watching.reserved, 0.0)
        assert one.cost + other.cost <= watching.totals(0).cost * 1.001 <= cap
