"""JSON that a server has sent: input, which may be nested as deep as it is long."""

from __future__ import annotations

import json
from typing import Final

MOST_NESTED: Final = 64
"""Levels at most: answers have about ten, and what walks through them does so recursively."""


def parsed(text: str) -> object:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, or nested too deep.
    """
    try:
        value: object = json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    if text.count("[") + text.count("{") > MOST_NESTED:
        _check(value)
    return value


def _check(value: object) -> None:
    level = [value]
    for _ in range(MOST_NESTED):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        if not inner:
            return
        level = inner
    if any(isinstance(each, dict | list) for each in level):
        raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MOST_NESTED} levels deep")
