"""How backend failures are reported to clients."""

from __future__ import annotations

import pytest

from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    BadResponse,
    ConfigError,
    ContentFiltered,
    InputTooLong,
    OutputTooLong,
    QuotaExhausted,
    RateLimited,
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
    for exposed in (False, True):
        found = client_error(error, "messages", passthrough_for="tools", exposed=exposed)
        assert (found.status, found.code, found.param) == (status, code, param)
        assert (found.message == str(error)) is (exposed or isinstance(error, ConfigError))


@pytest.mark.parametrize(
    "kind",
    [
        BackendRefused,
        BackendTimeout,
        BackendUnavailable,
        BadResponse,
        ContentFiltered,
        InputTooLong,
        OutputTooLong,
        QuotaExhausted,
        RateLimited,
    ],
)
def test_what_a_server_says_stays_in_the_log(kind: type[BackendError], caplog: pytest.LogCaptureFixture) -> None:
    error = kind("weak model m at http://gpu-7.internal:8000/v1", "CUDA is out of memory", "restart it")
    told = client_error(error, "messages", request="chatcmpl-1").message
    assert not any(word in told for word in ("gpu", "CUDA", "restart", "http"))
    assert "chatcmpl-1: weak model m at http://gpu-7.internal:8000/v1: CUDA" in caplog.text


def test_numbers_that_help_are_told() -> None:
    error = InputTooLong("weak model", "too long", limit=4096, prompt=5000)
    assert (
        client_error(error, "messages").message == "the text does not fit a model's context of 4096 tokens: it has 5000"
    )


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
