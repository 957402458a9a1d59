"""A gateway over simulated models, and OpenAI's client for it. A module with other needs has fixtures of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import openai
import pytest

from tests.server.gateway import Served, serving, simulated
from tests.server.postgres import Postgres, running_postgres
from trim.server.usage_store import UsageStore

OpenStore = Callable[..., UsageStore]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(simulated()) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def open_store() -> Iterator[OpenStore]:
    """Opens usage stores, and closes them after the test."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(closing(UsageStore(*args, **kwargs)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new usage store is: a file, and a database of PostgreSQL."""
    if request.param == "SQLite":
        return str(tmp_path / "state.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new()


def becomes(read: Callable[[], object], expected: object) -> None:
    """Something is read that other processes, or a thread, may write a little later."""
    limit = time.monotonic() + 5
    while (found := read()) != expected:
        assert time.monotonic() < limit, found
        time.sleep(0.01)
