"""How backend failures are reported to clients."""

from __future__ import annotations

import pytest

from trim.errors import (
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    BadResponse,
    ConfigError,
    InputTooLong,
    TrimError,
)
from trim.server.api_error import ApiError, client_error


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (InputTooLong("weak model", "too long"), 400, "context_length_exceeded", "messages"),
        (BackendRefused("strong model", "answered 400", status=400), 400, "invalid_value", "tools"),
        (BackendRefused("strong model", "answered 401", status=401), 502, "backend_error", None),
        (BackendTimeout("weak model", "no answer"), 504, "backend_timeout", None),
        (BackendUnavailable("weak model", "is gone"), 503, "backend_unavailable", None),
        (BadResponse("weak model", "half a message"), 502, "backend_error", None),
        (ConfigError("the price must not be negative"), 400, "invalid_value", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_statuses_and_fields(error: TrimError, status: int, code: str, param: str | None) -> None:
    found = client_error(error, "messages", passthrough_for="tools")
    assert (found.status, found.code, found.param) == (status, code, param)
    assert found.message == str(error)


def test_a_backends_refusal_is_not_a_client_error() -> None:
    assert client_error(BackendRefused("weak model", "answered 400", status=400), "messages").status == 502


def test_the_body_has_the_shape_of_openais_errors() -> None:
    body = ApiError(404, "no such model", "model_not_found", "model").body()
    assert body == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
