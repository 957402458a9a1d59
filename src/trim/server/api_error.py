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
    OutputTooLong,
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


def public_words(error: BackendError) -> str:
    """What failed, without the address of a server and its words."""
    if isinstance(error, InputTooLong):
        most = "" if error.limit is None else f" of {error.limit} tokens"
        has = "" if error.prompt is None else f": it has {error.prompt}"
        return f"the text does not fit a model's context{most}{has}"
    if isinstance(error, OutputTooLong):
        most = "" if error.limit is None else f", which are {error.limit}"
        return f"more tokens are asked for than a model may write{most}"
    if isinstance(error, ContentFiltered):
        return "the content filter of a model's server does not let the request or its answer through"
    kinds: dict[type[BackendError], str] = {
        BackendTimeout: "a model did not answer in time",
        QuotaExhausted: "the account at a model's server has no credit or quota left",
        RateLimited: "a model's server gets too many requests",
        BackendUnavailable: "a model cannot be reached or is overloaded",
        BackendRefused: "a model's server does not accept the request",
    }
    words = next((words for kind, words in kinds.items() if isinstance(error, kind)), "a model's answer is not valid")
    return f"{words}; the gateway's log says more"


def client_error(
    error: TrimError, param: str, passthrough_for: str | None = None, *, exposed: bool = False, request: str = ""
) -> ApiError:
    """Translate a failure of a backend into an error response, and log what is not in it.

    Args:
        error: what failed.
        param: the field that holds the question.
        passthrough_for: the field that made the request be passed through; None: it was routed.
        exposed: whether the client is told the server's address and its words.
        request: its id, for the log.
    """
    message = str(error)
    if isinstance(error, BackendError):
        logger.warning("%s: %s", request or "a request", error)
        message = message if exposed else public_words(error)
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
