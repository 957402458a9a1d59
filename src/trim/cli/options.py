"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

RAW = argparse.RawDescriptionHelpFormatter
DEMO_SEED = 900_000


def config_option(parser: argparse.ArgumentParser) -> None:
    """Add `--config`, a file of models and limits."""
    parser.add_argument(
        "--config", type=Path, metavar="trim.toml", help="models and limits (default: the embedded pair)"
    )


def accept_option(parser: argparse.ArgumentParser) -> None:
    """Add `--accept`, for going on with a folder under conditions that differ."""
    parser.add_argument(
        "--accept",
        type=_names,
        default=(),
        metavar="KEY,...",
        help="go on although these keys of the folder's run.json differ, such as trim,prices,weak.system; the run notes"
        " it",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in map(str.strip, text.split(",")) if name)


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def amount(text: str) -> int:
    """A whole number from 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def money(text: str) -> float:
    """A number from 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value
