"""The OpenAPI document, from the same models that check requests."""

from __future__ import annotations

from functools import cache
from typing import Any

from trim import __version__
from trim.server.responses_request import ResponsesRequest
from trim.server.schemas import BaseRequest, ChatRequest, CompletionRequest
from trim.types import Action

Json = dict[str, Any]

IGNORED: Json = {"description": "accepted, without effect"}
"""The schema of a field that is ignored."""

_TEXT, _INT, _NUMBER, _YES_NO = {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}


def _object(required: Json, **optional: Any) -> Json:
    return {"type": "object", "properties": required | optional, "required": list(required)}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(schema: Json) -> Json:
    return {"type": "array", "items": schema}


def _completion(kind: str, **content: Json) -> Json:
    choice = _object(
        {"index": _INT, "finish_reason": {"enum": ["stop", "length", "tool_calls", "content_filter", "function_call"]}}
        | content
    )
    head = {"id": _TEXT, "object": {"const": kind}, "created": _INT, "model": _TEXT}
    return _object(head | {"choices": _list(choice), "usage": _ref("Usage"), "trim": _ref("Trim")})


_ROLE = {"enum": ["weak", "strong"]}
_ACTION = {"enum": [action.value for action in Action]}
_DRAFT = {"role": _ROLE, "tokens": _INT, "estimated": _YES_NO, "score": _nullable(_NUMBER), "action": _ACTION}

_USED = _object({"cost": _nullable(_NUMBER), "strong_tokens": _INT, "requests": _INT})

_SCHEMAS: Json = {
    "Error": _object(
        {"error": _object({"message": _TEXT, "type": _TEXT, "param": _nullable(_TEXT), "code": _nullable(_TEXT)})}
    ),
    "Model": _object({"id": _TEXT, "object": {"const": "model"}, "created": _INT, "owned_by": _TEXT}),
    "Models": _object({"object": {"const": "list"}, "data": _list(_ref("Model"))}),
    "Usage": _object({"prompt_tokens": _INT, "completion_tokens": _INT, "total_tokens": _INT}),
    "RoleUsage": _object(
        dict.fromkeys(("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "discarded_tokens"), _INT)
        | {"estimated": _YES_NO}
    ),
    "Step": _object({"choice": _INT, "forced": _YES_NO, "rejected": _list(_object(_DRAFT, text=_TEXT))} | _DRAFT),
    "Trim": _object(
        {
            "policy": _TEXT,
            "parameter": _nullable(_NUMBER),
            "seeds": _list(_INT),
            "stop_reasons": _list(_nullable(_TEXT)),
            "steps": _list(_ref("Step")),
            "strong_share": _NUMBER,
            "cost": _nullable(_NUMBER),
            "discarded_tokens": _INT,
            "usage": {"type": "object", "additionalProperties": _ref("RoleUsage")},
            "fallbacks": _list(_object({"choice": _INT, "step": _INT, "role": _TEXT, "to": _TEXT, "error": _TEXT})),
            "passthrough": _list(_TEXT),
            "notes": _list(_TEXT),
        }
    ),
    "ChatCompletion": _completion(
        "chat.completion", message=_object({"role": {"const": "assistant"}, "content": _nullable(_TEXT)})
    ),
    "TextCompletion": _completion("text_completion", text=_TEXT),
    "Response": _object(
        {
            "id": _TEXT,
            "object": {"const": "response"},
            "created_at": _INT,
            "status": {"enum": ["completed", "incomplete", "failed", "in_progress"]},
            "model": _TEXT,
            "output": _list(
                _object({"id": _TEXT, "type": _TEXT, "role": _TEXT, "status": _TEXT, "content": _list({})})
            ),
            "incomplete_details": _nullable(_object({"reason": _TEXT})),
            "error": _nullable(_object({"code": _nullable(_TEXT), "message": _TEXT})),
            "usage": _nullable(_ref("ResponseUsage")),
            "trim": _ref("Trim"),
        }
    ),
    "ResponseUsage": _object(
        {
            "input_tokens": _INT,
            "input_tokens_details": _object({"cached_tokens": _INT}),
            "output_tokens": _INT,
            "output_tokens_details": _object({"reasoning_tokens": _INT}),
            "total_tokens": _INT,
        }
    ),
    "Recent": _object(
        {"judge": _TEXT, "hour": _nullable(_USED), "day": _nullable(_USED), "recent": _list({"type": "object"})}
    ),
    "Health": _object({"status": _TEXT, "version": _TEXT}),
    "Ready": _object({"ready": _YES_NO, "backends": {"type": "object", "additionalProperties": _TEXT}}),
}


def _response(words: str, schema: Json, media: str = "application/json") -> Json:
    return {"description": words, "content": {media: {"schema": schema}}}


_ERRORS = {
    "400": "the request is not valid; `param` names the field",
    "401": "no API key, or an unknown one",
    "403": "the `Host` is no name of the gateway, or the page at `Origin` may not send requests",
    "404": "no such model",
    "408": "the body took too long",
    "413": "the body is too long, as sent or decompressed",
    "415": "`Content-Type` is not application/json, or the body is compressed in a way that is not known",
    "429": "a limit or a budget is reached; `Retry-After` says when to retry",
    "502": "a backend failed, or its response is not valid",
    "503": "a backend cannot be reached",
    "504": "a backend, or the whole answer, took too long",
}


def _errors(*statuses: str) -> Json:
    return {status: _response(_ERRORS[status], _ref("Error")) for status in statuses}


@cache
def document() -> Json:
    """The OpenAPI 3.1 document of all routes."""
    schemas: Json = {}
    chat = _generation(ChatRequest, "createChatCompletion", "Answer a conversation", "ChatCompletion", schemas)
    text = _generation(CompletionRequest, "createCompletion", "Answer prompts", "TextCompletion", schemas)
    response = _generation(ResponsesRequest, "createResponse", "Answer a text or a conversation", "Response", schemas)
    name = {"name": "model", "in": "path", "required": True, "schema": _TEXT}
    paths: Json = {
        "/v1/chat/completions": {"post": chat},
        "/v1/completions": {"post": text},
        "/v1/responses": {"post": response},
        "/v1/models": _get("List models", _response("models", _ref("Models")), **_errors("401", "403")),
        "/v1/models/{model}": _get(
            "A model", _response("the model", _ref("Model")), **_errors("400", "401", "403", "404")
        ),
        "/": _get("The web page", _response("HTML", _TEXT, "text/html"), **_errors("403")),
        "/docs": _get("Documentation of the gateway", _response("HTML", _TEXT, "text/html"), **_errors("403")),
        "/v1/trim/recent": _get(
            "What the key has used, and its latest requests",
            _response("usage and requests", _ref("Recent")),
            **_errors("401", "403"),
        ),
        "/healthz": _get("Whether the process is alive", _response("alive", _ref("Health"))),
        "/readyz": _get(
            "Whether every backend answers",
            _response("they do", _ref("Ready")),
            **{"503": _response("one does not", _ref("Ready"))},
        ),
        "/metrics": _get("Metrics for Prometheus", _response("metrics", _TEXT, "text/plain"), **_errors("403")),
        "/openapi.json": _get("This document", _response("OpenAPI 3.1", {"type": "object"}), **_errors("403")),
    }
    paths["/v1/models/{model}"]["parameters"] = [name]
    return {
        "openapi": "3.1.0",
        "info": {"title": "TRIM gateway", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS | schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _generation(kind: type[BaseRequest], name: str, words: str, reply: str, schemas: Json) -> Json:
    """A route that answers questions; adds the schemas of its requests."""
    request = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    request["properties"] |= dict.fromkeys(sorted(kind.ignored_fields), IGNORED)
    schemas |= request.pop("$defs", {}) | {kind.__name__: request}
    answer = _response("the answer; with `stream` as server-sent events", _ref(reply))
    answer["content"]["text/event-stream"] = {"schema": {}}  # chunks as in OpenAI's documentation
    return {
        "summary": f"{words}; every step is written by the weak or the strong model",
        "operationId": name,
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(kind.__name__)}}},
        "responses": {"200": answer, **_errors(*_ERRORS)},
    }


def _get(words: str, good: Json, **others: Json) -> Json:
    return {"get": {"summary": words, "responses": {"200": good} | others}}
