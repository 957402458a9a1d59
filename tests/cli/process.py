"""The command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

SOLVABLE = (
    "A loaf of sourdough at the bakery costs $8. biscuits cost $5 each. How much more do 10 loaves of sourdough cost "
    "than 10 biscuits?"
)
QUESTION = "Tom has 3 boxes of 12 pens and 5 loose pens. How many pens does he have?"


def trim(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `trim` with these arguments and see what it prints."""
    environment = os.environ | {"COLUMNS": "140", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "trim", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
