"""Whether a text goes round in circles, as small models' texts do until a limit stops them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

TIMES: Final = 4
"""A loop is a passage that stands at least so often in a row at the end of a text,"""

LONGEST: Final = 2_000
"""has at most so many characters,"""

LEAST: Final = 2_000
"""and with its repetitions at least so many."""

_PROBE = 32  # characters at the end of the text that are looked for before it
_TRIES = 64  # places where they may stand


def is_loop(steps: Iterable[str]) -> bool:
    """Whether the end of these steps, joined, is one passage over and over; it may break off in the last one.

    Args:
        steps: newest first; no more are read than are looked at.
    """
    end = _end(steps)
    if len(end) < LEAST:
        return False
    probe, at = end[-_PROBE:], len(end) - _PROBE
    for _ in range(_TRIES):
        at = end.rfind(probe, 0, at + _PROBE - 1)
        period = len(end) - _PROBE - at
        if at < 0 or period > LONGEST:
            return False
        length = max(LEAST, TIMES * period)
        if length <= len(end) and end[-length:-period] == end[period - length :]:
            return True
    return False


def _end(steps: Iterable[str]) -> str:
    parts: list[str] = []
    missing = TIMES * LONGEST
    for step in steps:
        parts.append(step[-missing:])
        missing -= len(parts[-1])
        if missing <= 0:
            break
    return "".join(reversed(parts))
