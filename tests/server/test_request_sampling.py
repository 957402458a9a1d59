"""The sampling that a request asks for reaches both models; what a model does not take is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.fake_server import Habits
from tests.backends.fake_server import serving as fake_serving
from tests.server.gateway import Served, ask, serving, simulated
from trim.config.settings import Config, ModelSettings, PrmSettings
from trim.server.gateway import open_gateway

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": ask(),
    "/v1/completions": {"prompt": "q"},
    "/v1/responses": {"input": "q"},
}


@contextmanager
def _in_front_of(habits: Habits, **strong: Any) -> Iterator[Served]:
    """A gateway whose models are one fake server, the strong one of another kind if told so."""
    weak = ModelSettings("vllm", "m", f"{habits.url}/v1", retries=0)
    prm = PrmSettings("vllm", "m", habits.url, retries=0)
    with serving(lambda: open_gateway(Config(weak, replace(weak, **strong), prm))) as served:
        yield served


def sent(habits: Habits) -> dict[str, Any]:
    """The sampling of the newest request for a text."""
    newest = next(request for request in reversed(habits.requests) if "prompt" in request)
    return {name: newest.get(name) for name in ("temperature", "top_p", "top_k", "seed")}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("model", ["trim-weak", "trim-strong"])
def test_it_reaches_the_models(path: str, model: str) -> None:
    with fake_serving() as habits, _in_front_of(habits) as served:
        asked = {"temperature": 0.25, "top_p": 0.5, "top_k": 7}
        answer = served.post(BODIES[path] | asked | {"model": model, "seed": 3}, path)
        assert answer.status_code == 200, answer.text
        assert "x-trim-ignored" not in answer.headers
        assert sent(habits).items() >= asked.items()
        served.post(BODIES[path] | {"model": model}, path)
        assert sent(habits).items() >= {"temperature": 0.7, "top_p": 0.8, "top_k": 20}.items()
        for no_limit in (0, -1):
            served.post(BODIES[path] | {"model": model, "top_k": no_limit}, path)
            assert sent(habits)["top_k"] is None


def test_one_model_without_top_k_makes_it_ignored() -> None:
    with fake_serving() as habits, _in_front_of(habits, backend="mistral", continuation="chat") as served:
        answer = served.post(ask(model="trim-weak", top_k=7))
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-trim-ignored"] == "top_k"
        assert sent(habits)["top_k"] == 20


def test_fixed_sampling() -> None:
    with serving(simulated()) as served:
        answer = served.post(ask(top_k=7, user="ann"))
        assert (answer.status_code, answer.headers["x-trim-ignored"]) == (200, "top_k, user")
        for name in ("temperature", "top_p"):
            answer = served.post(ask() | {name: 0.5})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
        assert served.post(ask(top_k=-2)).json()["error"]["param"] == "top_k"
