"""Commands and options that were renamed: who uses an old name gets the new one as an error message."""

from __future__ import annotations

from collections.abc import Sequence

from trim.errors import ConfigError

OPTIONS = {
    ("fit pomdp", "--bill"): "--total-cost",
    ("explain", "--retries"): "--resamples",
    ("explain", "--tried"): "--earlier-scores",
    ("explain", "--rewritten"): "--regenerated",
}
"""New names by command and old name."""


def refuse_renamed(arguments: Sequence[str]) -> None:
    """Look for old names, which argparse would only call unrecognised.

    Raises:
        ConfigError: there is one; says what it is called now.
    """
    words = [argument for argument in arguments if not argument.startswith("-")]
    given = {argument.partition("=")[0] for argument in arguments}
    for (command, old), new in OPTIONS.items():
        if words[: command.count(" ") + 1] == command.split() and old in given:
            raise ConfigError(f"trim {command} {old} is called {new} now")
