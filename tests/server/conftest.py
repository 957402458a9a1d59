"""A gateway over simulated models, and OpenAI's client for it. A module with other needs has fixtures of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import openai
import pytest

from tests.server.gateway import Served, serving, simulated
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
