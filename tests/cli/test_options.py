"""Numbers on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from trim.cli.options import amount, count, money


@pytest.mark.parametrize(
    ("option", "good", "value", "bad"),
    [
        (count, "12", 12, ("0", "-1", "1.5", "x", "", "²")),
        (amount, "0", 0, ("-1", "1.5", "x", "", "²")),
        (money, "1e-3", 0.001, ("-0.1", "nan", "x", "")),
    ],
)
def test_numbers_are_read_and_others_refused(
    option: Callable[[str], float], good: str, value: float, bad: tuple[str, ...]
) -> None:
    assert option(good) == value
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=f"{text!r} is not a "):
            option(text)
