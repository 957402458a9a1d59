"""Fields that step routing does not use: refused by name, accepted where they ask for nothing, or named as ignored."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.gateway import Served, ask
from trim.server.parameters import CHAT_REFUSED, COMPLETION_REFUSED, IGNORED, RESPONSES_REFUSED, Neutral, has_effect

TABLES: list[tuple[str, dict[str, Any], Neutral]] = [
    ("/v1/chat/completions", ask(), CHAT_REFUSED),
    ("/v1/completions", {"prompt": "q"}, COMPLETION_REFUSED),
    ("/v1/responses", {"input": "q"}, RESPONSES_REFUSED),
]


@pytest.mark.parametrize(("path", "body", "table"), TABLES, ids=lambda value: value if isinstance(value, str) else "")
def test_each_is_refused_by_name(served: Served, path: str, body: dict[str, Any], table: Neutral) -> None:
    for name in table:
        answer = served.post(body | {name: {"a": 7}}, path)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, name, "unsupported_parameter")
        assert error["message"].startswith(name)


@pytest.mark.parametrize(("path", "body", "table"), TABLES, ids=lambda value: value if isinstance(value, str) else "")
def test_each_is_accepted_where_it_asks_for_nothing(
    served: Served, path: str, body: dict[str, Any], table: Neutral
) -> None:
    nothing = {name: values[0] if values else None for name, values in table.items()}
    answer = served.post(body | nothing, path)
    assert answer.status_code == 200, answer.text
    assert "x-trim-ignored" not in answer.headers


@pytest.mark.parametrize(("path", "body", "table"), TABLES, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_ignored_is_said(served: Served, path: str, body: dict[str, Any], table: Neutral, stream: bool) -> None:
    answer = served.post(body | {"verbosity": "low", "top_k": 40, "seed": 1, "stream": stream}, path)
    assert answer.status_code == 200
    assert answer.headers["x-trim-ignored"] == "top_k, verbosity"
    others = IGNORED - {"metadata", "top_k"}
    answer = served.post(body | {name: {"any": ["value", None]} for name in others}, path)
    assert answer.headers["x-trim-ignored"] == ", ".join(sorted(others))


def test_nothing_is_both_refused_and_ignored() -> None:
    for table in (CHAT_REFUSED, COMPLETION_REFUSED, RESPONSES_REFUSED):
        assert not table.keys() & IGNORED


def test_false_is_not_zero() -> None:
    assert has_effect(False, (0,))
    assert has_effect(0, (False,))
    assert not has_effect(0.0, (0,))
    assert not has_effect(None, ())
