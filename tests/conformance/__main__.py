"""Prints the table: kinds of servers down, cases across. Exits with 1 where a cell is wrong."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from tests.conformance.cases import CASES, Bench, Case
from tests.conformance.kinds import KINDS
from tests.conformance.scripted_server import scripted_server
from trim.backends.client import Server

_WIDTH = max(len(kind.name) for kind in KINDS)


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


async def table(cases: Sequence[Case] = CASES) -> str:
    """The table and what its columns are."""
    lines = [" " * _WIDTH + "".join(f"{case.short:>4}" for case in cases)]
    connections = Server("weak model", "http://127.0.0.1:9/v1", "m")
    with scripted_server() as server:
        for kind in KINDS:
            marks = [await mark(Bench(server, kind, connections), case) for case in cases]
            lines.append(f"{kind.name:<{_WIDTH}}" + "".join(f"{found:>4}" for found in marks))
    await connections.aclose()
    meanings = [f"{case.short}  {case.about}" for case in cases]
    return "\n".join([*lines, "", "✓ as it should be   ✗ not   – does not apply", "", *meanings])


if __name__ == "__main__":
    text = asyncio.run(table())
    print(text)
    sys.exit("✗" in text.split("\n\n")[0])
