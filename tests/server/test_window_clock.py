"""The time of hours and days goes on at the pace of real time, whatever becomes of the machine's clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trim.server.window_clock import Reading, WindowClock


class Hands:
    """A machine's clock, and the seconds that really pass."""

    def __init__(self) -> None:
        self.wall, self.elapsed = 1_700_000_000.0, 50.0

    def clock(self) -> WindowClock:
        return WindowClock(lambda: self.wall, lambda: self.elapsed)

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.elapsed += seconds


def test_it_is_the_clock_of_a_machine_whose_clock_is_right() -> None:
    hands = Hands()
    clock = hands.clock()
    for seconds in (0.0, 0.3, 3600.0, 86_400.0):
        hands.go(seconds)
        assert clock.now() == hands.wall


@pytest.mark.parametrize("jump", [-1e9, -86_400.0, -2.0, 2.0, 86_400.0, 1e9])
def test_a_jump_moves_nothing_and_stops_nothing(jump: float) -> None:
    hands = Hands()
    clock, start = hands.clock(), hands.wall
    hands.wall += jump
    assert clock.now() == pytest.approx(start)
    hands.go(3600.0)
    assert 3600 * 0.89 <= clock.now() - start <= 3600 * 1.11


def test_it_comes_back_to_a_clock_that_was_set_right() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.wall += 60.0
    for _ in range(700):
        hands.go(1.0)
        clock.now()
    assert clock.now() == pytest.approx(hands.wall, abs=1.1)


def test_one_clock_alone_never_goes_back_and_never_stops() -> None:
    now = [1_700_000_000.0]
    clock = WindowClock(lambda: now[0])
    now[0] -= 86_400
    assert clock.now() == 1_700_000_000.0
    now[0] += 1000
    assert clock.now() == pytest.approx(1_700_000_900.0)


@pytest.mark.parametrize("jump", [-1e6, 0.0, 1e6])
def test_a_restart_goes_on_from_the_stored_time(jump: float) -> None:
    hands = Hands()
    stored = hands.clock().read()
    hands.go(500.0)
    hands.wall += jump
    clock = hands.clock()
    clock.resume(stored)
    assert clock.now() == pytest.approx(stored.time + 500.0)


def test_after_a_start_of_the_machine_its_clock_counts_unless_it_goes_back() -> None:
    hands = Hands()
    stored = replace(hands.clock().read(), boot="another")
    hands.wall += 4000.0
    clock = hands.clock()
    clock.resume(stored)
    assert clock.now() == stored.time + 4000.0
    hands.wall -= 9000.0
    clock.resume(stored)
    assert clock.now() == pytest.approx(stored.time, abs=1.0)


@pytest.mark.parametrize("time", [None, "x", float("nan"), 1e12, -1.0])
def test_what_is_no_time_is_not_restored(time: object) -> None:
    assert Reading.restored((time, 1.0, 1.0, "")) is None
    assert Reading.restored((5, 6, 7, None)) == Reading(5, 6, 7, "None")
