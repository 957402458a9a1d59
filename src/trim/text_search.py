"""Searching long texts in parts: a regular expression lets no other thread run until it has found something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

PART: Final = 16_384
"""Characters that are searched at once."""


def matches(pattern: re.Pattern[str], text: str, longest: int) -> Iterator[re.Match[str]]:
    """The matches of a pattern, as `finditer` finds them.

    Args:
        pattern: looks no further than `longest` characters from where a match begins, and back no further than there.
        text: is searched in parts of `PART` characters.
        longest: see `pattern`.
    """
    begin = 0
    while begin < len(text):
        end = begin + PART
        for match in pattern.finditer(text, begin, end + longest):
            if match.start() >= end:
                break
            begin = match.end()
            yield match
        begin = max(begin, end)
