"""Errors as clients see them, in the shape that OpenAI's SDK understands."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ContentFiltered,
    InputTooLong,
    PluginError,
    QuotaExhausted,
    RateLimited,
    TrimError,
)

logger = logging.getLogger(__name__)

_REQUEST_AT_FAULT = (400, 413, 415, 422)  # statuses of a server that does not accept a request passed through to it


@dataclass(eq=False)
class ApiError(Exception):
    """An error response. `param` names the field at fault; `retry_after` is in seconds."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    kind: str = "invalid_request_error"
    retry_after: float | None = None

    def body(self) -> dict[str, Any]:
        """The JSON body, in OpenAI's error shape."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


INTERNAL_ERROR = ApiError(500, "internal error of the gateway; see its log", "internal_error", kind="server_error")


def client_error(error: TrimError, param: str, passthrough_for: str | None = None) -> ApiError:
    """Translate a failure of a backend into an error response.

    Args:
        error: what failed.
        param: the field that holds the question.
        passthrough_for: the field that made the request be passed through; None: it was routed.
    """
    message = str(error)
    if isinstance(error, PluginError):
        logger.error("%s", error, exc_info=error)
        return INTERNAL_ERROR
    if isinstance(error, InputTooLong):
        return ApiError(400, message, "context_length_exceeded", param)
    if isinstance(error, ContentFiltered):
        return ApiError(400, message, "content_filter", param)
    if isinstance(error, BackendRefused) and passthrough_for is not None and error.status in _REQUEST_AT_FAULT:
        return ApiError(400, message, "invalid_value", passthrough_for)
    if isinstance(error, BackendTimeout):
        return ApiError(504, message, "backend_timeout", kind="backend_error")
    if isinstance(error, QuotaExhausted):
        return ApiError(429, message, "insufficient_quota", kind="insufficient_quota")
    if isinstance(error, RateLimited):
        return ApiError(429, message, "rate_limit_exceeded", kind="rate_limit_error", retry_after=_wait(error))
    if isinstance(error, BackendUnavailable):
        return ApiError(503, message, "backend_unavailable", kind="backend_error", retry_after=_wait(error))
    if isinstance(error, BackendError):
        return ApiError(502, message, "backend_error", kind="backend_error")
    return ApiError(400, message, "invalid_value")


def _wait(error: BackendUnavailable) -> float:
    """Seconds until the next try: as the server asks, else one."""
    return 1.0 if error.retry_after is None else error.retry_after
