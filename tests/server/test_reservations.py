"""Caps count what is held; limits of keys hold over all processes; what a dead process has left is settled."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.conftest import OpenStore, becomes
from trim.server.reservations import Cap, KeyLimits, Refusal, Reservation, Reservations, share
from trim.server.usage_store import UsageStore, UsageTotals, opened_database

NOW = 480_000 * 3600.0 + 600
CAP = Cap(10.0, 1, None, "of the gateway for this hour")
CASES = int(os.environ.get("TRIM_FUZZ", "40"))


def reserve(store: UsageStore, id: str, wanted: float, caps: tuple[Cap, ...] = (CAP,), least: float = 0.5) -> Any:
    return store.reserve(id, "alice", wanted, least=least, caps=caps).result(10)


def test_caps_count_what_is_held_and_settled(place: str, open_store: OpenStore) -> None:
    store = open_store(place, clock=lambda: NOW)
    assert reserve(store, "a", 4.0) == 4.0
    assert reserve(store, "b", 4.0) == 3.0  # half of what is left
    store.charge("alice", UsageTotals(1.0, 5, 1), "a")
    assert reserve(store, "c", 2.0) == 2.0
    assert store.extend("b", 100.0, (CAP,)).result(10) == 2.0
    becomes(store.reserved, 7.0)
    assert reserve(store, "d", 4.0, least=2.5) == Refusal("cap", 3000.0, CAP, held=True)
    store.charge("alice", UsageTotals(9.0, 5, 1))
    assert reserve(store, "d", 4.0) == Refusal("cap", 3000.0, CAP, held=False)
    assert store.extend("b", 100.0, (CAP,)).result(10) == 0.0
    assert store.totals(0) == UsageTotals(10.0, 10, 2)


def test_a_cap_of_a_key_is_its_own(place: str, open_store: OpenStore) -> None:
    store = open_store(place, clock=lambda: NOW)
    caps = (CAP, Cap(1.0, 24, "bob", "of this key for this day"))
    assert reserve(store, "a", 4.0) == 4.0
    assert store.reserve("b", "bob", 0.5, least=0.5, caps=caps).result(10) == 0.5
    assert isinstance(store.reserve("c", "bob", 1.0, least=0.6, caps=caps).result(10), Refusal)


def test_limits_of_a_key_hold_over_all_processes(place: str, open_store: OpenStore) -> None:
    one, other = open_store(place, clock=lambda: NOW), open_store(place, clock=lambda: NOW)
    at_once, rate = KeyLimits(at_once=1), KeyLimits(per_minute=2)
    assert one.arrive("a", "alice", at_once, (), 0.0).result(10) is None
    assert other.arrive("b", "alice", at_once, (), 0.0).result(10) == Refusal("at once")
    one.release("a")
    assert one.arrive("c", "bob", rate, (), 0.0).result(10) is None
    assert other.arrive("d", "bob", rate, (), 0.0).result(10) is None
    assert other.arrive("e", "bob", rate, (), 0.0).result(10) == Refusal("per minute", 30.0)


@pytest.mark.parametrize(("recovery", "cost"), [("reserved", 4.0), ("counted", 1.5)])
def test_what_a_dead_process_held_is_settled_and_that_of_a_living_one_is_not(
    recovery: str,
    cost: float,
    place: str,
    open_store: OpenStore,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if place.startswith("postgresql"):
        monkeypatch.setattr("trim.server.postgres_database.LEASE", 1.5)
        monkeypatch.setattr("trim.server.postgres_database.EVERY", 0.05)
    living = open_store(place, clock=lambda: NOW, recovery=recovery)
    reserve(living, "mine", 2.0)
    other = opened_database(place)
    other.begin()
    rows = Reservations("a process that was killed")
    rows.write(other, Reservation("a", "alice", 480_000, 4.0))
    rows.note(other, [Reservation("a", "alice", 479_999, 0.0, 1.5, 7)])
    other.commit()
    other.close()
    store = open_store(place, clock=lambda: NOW, recovery=recovery)
    becomes(lambda: store.totals(0, "alice"), UsageTotals(cost, 7, 1))
    assert store.totals(480_000) == UsageTotals()
    becomes(store.reserved, 2.0)
    assert "1 requests that a process had left without settling are charged" in caplog.text


EVENTS = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 20), st.floats(0, 1), st.sampled_from("rexs")), max_size=30)


@pytest.mark.parametrize("name", ["SQLite", "PostgreSQL"])
def test_a_cap_is_never_exceeded(name: str, request: pytest.FixtureRequest) -> None:
    """Whatever is asked for and settled, by requests that spend no more than they were given."""
    place = request.getfixturevalue("postgres").new() if name == "PostgreSQL" else ""
    with closing(UsageStore(place, clock=lambda: NOW)) as store:

        @settings(max_examples=CASES, deadline=None, derandomize=CASES <= 40)
        @given(EVENTS)
        def histories(events: list[tuple[int, float, float, str]]) -> None:
            ask_and_settle(store, uuid4().hex, events)

        histories()


def ask_and_settle(store: UsageStore, key: str, events: list[tuple[int, float, float, str]]) -> None:
    """Requests of a key with a cap of its own."""
    cap = Cap(10.0, 1, key, "of this key for this hour")
    held: dict[str, float] = {}
    spent = 0.0
    for number, amount, part, event in events:
        id = f"{key}-{number}"
        if event == "r" and id not in held:
            found = store.reserve(id, key, amount, least=min(0.5, amount), caps=(cap,)).result(10)
            if not isinstance(found, Refusal):
                held[id] = found
        elif event == "e" and id in held:
            held[id] += store.extend(id, amount, (cap,)).result(10)
        elif event == "s" and id in held:
            used = held.pop(id) * part
            spent += used
            store.charge(key, UsageTotals(used, 0, 1), id)
        assert spent + sum(held.values()) <= cap.limit * (1 + 1e-9)
    assert store.totals(0, key).cost == pytest.approx(spent)


def test_a_share_leaves_something_for_others() -> None:
    assert [share(8.0, 2.0, 1.0), share(8.0, 6.0, 1.0)] == [2.0, 4.0]
    assert [share(8.0, 6.0, 5.0), share(4.0, 6.0, 5.0)] == [5.0, 4.0]
