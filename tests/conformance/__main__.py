"""Prints the table: kinds of servers down, cases across. Exits with 1 where a cell is wrong.

With a file's name it also writes the documentation's page there: `python -m tests.conformance PAGE`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.cases import CASES, Bench, Case
from tests.conformance.kinds import KINDS
from tests.conformance.scripted_server import scripted_server
from trim.backends.client import Server

_WIDTH = max(len(kind.name) for kind in KINDS)
_PAGE = """\
# Servers

What TRIM makes of the answers of 17 kinds of servers, each scripted byte for byte after documentation and bug reports
(`tests/conformance`). Every cell is a test; `make conformance` runs them and prints this table. "–": the case does not
apply, such as the continuation of a chat where TRIM renders the chat itself.

```text
{table}
```

```text
{cases}
```
"""


async def mark(bench: Bench, case: Case) -> str:
    """One cell."""
    if not case.applies(bench.kind):
        return "–"
    try:
        await case.check(bench)
    except AssertionError as error:
        print(f"{bench.kind.name}, {case.about}: {error}", file=sys.stderr)
        return "✗"
    return "✓"


def page() -> str:
    """The documentation's page, with the table as it is when nothing is wrong."""
    rows = [_row(kind.name, ["✓" if case.applies(kind) else "–" for case in CASES]) for kind in KINDS]
    return _PAGE.format(table="\n".join([_head(CASES), *rows]), cases=_meanings(CASES))


def _head(cases: Sequence[Case]) -> str:
    return _row("", [case.short for case in cases])


def _row(name: str, marks: Sequence[str]) -> str:
    return f"{name:<{_WIDTH}}" + "".join(f"{found:>4}" for found in marks)


def _meanings(cases: Sequence[Case]) -> str:
    return "\n".join(f"{case.short}  {case.about}" for case in cases)


async def table(cases: Sequence[Case] = CASES) -> str:
    """The table and what its columns are."""
    lines = [_head(cases)]
    connections = Server("weak model", "http://127.0.0.1:9/v1", "m")
    with scripted_server() as server:
        for kind in KINDS:
            marks = [await mark(Bench(server, kind, connections), case) for case in cases]
            lines.append(_row(kind.name, marks))
    await connections.aclose()
    return "\n".join([*lines, "", "✓ as it should be   ✗ not   – does not apply", "", _meanings(cases)])


if __name__ == "__main__":
    text = asyncio.run(table())
    print(text)
    if "✗" in text.split("\n\n")[0]:
        sys.exit(1)
    for path in sys.argv[1:]:
        Path(path).write_text(page(), encoding="utf-8")
