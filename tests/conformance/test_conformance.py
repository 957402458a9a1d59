"""Every kind of server in every case, through the real generator; see `tests.conformance.cases`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.__main__ import page, table
from tests.conformance.cases import CASES, Bench, Case
from tests.conformance.kinds import KINDS, Kind
from tests.conformance.scripted_server import ScriptedServer, scripted_server
from trim.backends.client import Server


@pytest.fixture(scope="module")
def bench() -> Iterator[tuple[asyncio.Runner, ScriptedServer, Server]]:
    connections = Server("weak model", "http://127.0.0.1:9/v1", "m")
    with scripted_server() as server, asyncio.Runner() as runner:
        yield runner, server, connections
        runner.run(connections.aclose())


CELLS = [(kind, case) for kind in KINDS for case in CASES if case.applies(kind)]


@pytest.mark.parametrize(("kind", "case"), CELLS, ids=lambda value: getattr(value, "short", "") or value.name)
def test_a_kind_of_server_in_a_case(
    bench: tuple[asyncio.Runner, ScriptedServer, Server], kind: Kind, case: Case
) -> None:
    runner, server, connections = bench

    async def check() -> None:
        await case.check(Bench(server, kind, connections))

    runner.run(check())


def test_the_table_fits_a_page_and_shows_what_goes_wrong() -> None:
    async def broken(bench: Bench) -> None:
        assert bench.kind.name != "vllm 0.5"

    only = Case("x", "y", broken, lambda kind: kind.name != "tgi")
    lines = asyncio.run(table([only])).splitlines()[1 : len(KINDS) + 1]
    marks = {line[:-1].strip(): line[-1] for line in lines}
    assert (marks["vllm 0.32"], marks["vllm 0.5"], marks["tgi"]) == ("✓", "✗", "–")
    assert len(lines[0]) + 4 * (len(CASES) - 1) <= 100
    assert all(len(case.short) <= 3 for case in CASES)


def test_the_page_in_the_documentation_is_current() -> None:
    """Otherwise: make conformance."""
    assert (Path(__file__).parents[2] / "docs/reference/conformance.md").read_text("utf-8") == page()
    assert "17 kinds" in page() and len(KINDS) == 17
