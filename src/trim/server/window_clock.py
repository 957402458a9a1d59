"""The time by which hours and days of spend are told apart. It goes on at about the pace of real time, whatever becomes
of the machine's clock: a jump neither begins a new hour nor keeps an old one from ending.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

_IN_STEP = 1.0  # seconds by which this time may differ from the machine's clock and still follow it exactly
_CATCHING_UP = 0.1  # how much faster or slower it runs while it differs by more
_LATEST = 4e10  # seconds since 1970: the fourth millennium
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Reading:
    """A time as it is stored: seconds since 1970, the machine's clock then, and the seconds that the machine had run
    for since the start `boot`.
    """

    time: float
    wall: float
    elapsed: float
    boot: str

    def ran_until(self, later: Reading) -> float:
        """Seconds from this reading to another one, at least 0: by the machine's clock only where it was started anew
        in between.
        """
        same = self.boot == later.boot and self.elapsed <= later.elapsed
        return max(0.0, later.elapsed - self.elapsed if same else later.wall - self.wall)

    @classmethod
    def restored(cls, row: Sequence[object]) -> Reading | None:
        """What was stored; None: these are no times."""
        *numbers, boot = row
        times = [each for each in numbers if isinstance(each, int | float) and isfinite(each)]
        if len(times) < len(numbers) or not 0 <= times[0] < _LATEST:
            return None
        time, wall, elapsed = times
        return cls(time, wall, elapsed, str(boot))


class WindowClock:
    """Seconds since 1970 that never go back.

    Args:
        wall: the machine's clock.
        elapsed: seconds that pass whatever is done to that clock; None: where `wall` is the real clock, the machine's
            own, with the time that it was suspended; else `wall`, whose steps back do not count.
        boot: tells what counts the elapsed time from others that do; None: this start of the machine.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] | None = None,
        *,
        boot: str | None = None,
    ) -> None:
        real = wall is time.time and elapsed is None
        self._wall = wall
        self._elapsed = _since_start if real else elapsed or wall
        self._boot = boot if boot is not None else _boot() if real else ""
        self._lock = threading.Lock()
        self._last = self._elapsed()
        self._time = wall()

    def now(self) -> float:
        """The time."""
        return self.read().time

    def read(self) -> Reading:
        """The time, and what it can be continued from after a restart."""
        with self._lock:
            wall, elapsed = self._wall(), self._elapsed()
            ran, self._last = max(0.0, elapsed - self._last), elapsed
            ahead = self._time + ran - wall
            if abs(ahead) <= _IN_STEP:
                self._time = max(self._time, wall)
            else:
                self._time += ran * (1 - _CATCHING_UP if ahead > 0 else 1 + _CATCHING_UP)
            return Reading(self._time, wall, elapsed, self._boot)

    def follow(self, stored: Reading) -> None:
        """Go on from a time that another process has stored just now, if that is later. At the start: go on from it in
        any case, see `resume`.
        """
        now = self.read()
        ran = stored.ran_until(now) if stored.boot == now.boot else 0.0
        with self._lock:
            self._time = max(self._time, stored.time + ran)

    def resume(self, stored: Reading) -> None:
        """Go on from the time that was stored when the file was last in use."""
        now = self.read()
        with self._lock:
            self._time = stored.time + stored.ran_until(now)


def _since_start() -> float:
    """Seconds since the machine was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _boot() -> str:
    """Tells one start of the machine from another; empty: not known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
