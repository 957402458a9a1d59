"""What refusals say about parameters, in the words of servers, and what is sent after them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from tests.backends.fake_server import listening
from tests.conformance.scripted_server import said, scripted_server
from trim.backends.client import Server
from trim.backends.request_extras import RequestExtras
from trim.backends.request_parameters import RequestParameters
from trim.errors import BackendRefused, ConfigError

BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "q"}],
    "max_tokens": 9,
    "temperature": 0.7,
    "top_p": 0.8,
    "top_k": 20,
    "seed": 1,
    "stream_options": {"include_usage": True},
    "logprobs": True,
    "top_logprobs": 5,
}
TOPS = {"top_logprobs"}
SAMPLING = {"temperature", "top_p", "top_k"}


def openai(message: str, parameter: str, code: str = "unsupported_parameter") -> Any:
    return {"error": {"message": message, "type": "invalid_request_error", "param": parameter, "code": code}}


REFUSALS: list[tuple[str, Any, set[str]]] = [
    (
        "openai, value",
        openai(
            "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is "
            "supported.",
            "temperature",
            "unsupported_value",
        ),
        SAMPLING,
    ),
    ("openai", openai("Unsupported parameter: 'top_p' is not supported with this model.", "top_p"), {"top_p"}),
    ("openai, unknown", openai("Unknown parameter: 'top_k'.", "top_k", "unknown_parameter"), {"top_k"}),
    ("openai, old", openai("Unrecognized request argument supplied: top_k", "top_k"), {"top_k"}),
    (
        "anthropic, both",
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
            },
        },
        {"top_p"},
    ),
    (
        "anthropic",
        {"error": {"message": "`temperature` is deprecated for this model.", "type": "invalid_request_error"}},
        SAMPLING,
    ),
    (
        "gemini",
        [
            {
                "error": {
                    "code": 400,
                    "message": 'Invalid JSON payload received. Unknown name "top_k": Cannot find field.\n'
                    'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        {"top_k", "seed"},
    ),
    (
        "openrouter",
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {
                    "raw": '{"type":"error","error":{"message":"`temperature` is deprecated for this model."}}',
                    "provider_name": "Anthropic",
                },
            }
        },
        SAMPLING,
    ),
    (
        "mistral",
        {
            "object": "error",
            "message": {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "seed"],
                        "msg": "Extra inputs are not permitted",
                        "input": {"temperature": 0.7},
                    }
                ]
            },
            "type": "invalid_request_error",
        },
        {"seed"},
    ),
    ("groq", {"error": {"message": "property 'top_k' is unsupported"}}, {"top_k"}),
    (
        "litellm",
        {
            "error": {
                "message": "litellm.UnsupportedParamsError: gpt-5 models don't support temperature=0.7. Only "
                "temperature=1 is supported. To drop unsupported params set `litellm.drop_params = True`"
            }
        },
        SAMPLING,
    ),
    ("transformers", {"detail": "Unexpected fields in the request: {'seed', 'top_k'}"}, {"seed", "top_k"}),
    (
        "openai, no log-probabilities",
        openai("You are not allowed to request logprobs from this model.", "logprobs", "invalid_request_error"),
        {"logprobs", *TOPS},
    ),
    ("openai, reasons", openai("'logprobs' is not supported with this model", "logprobs"), {"logprobs", *TOPS}),
    (
        "gemini, no log-probabilities",
        {"error": {"message": "logprobs is not enabled for models/m"}},
        {"logprobs", *TOPS},
    ),
    (
        "deepseek",
        {"error": {"message": "deepseek-reasoner does not support the parameter logprobs"}},
        {"logprobs", *TOPS},
    ),
    ("vllm, fewer", {"message": "Requested sample logprobs of 5, which is greater than max allowed: 1"}, TOPS),
    ("fewer", openai("Invalid value for 'top_logprobs': must be less than or equal to 4.", "top_logprobs"), TOPS),
    ("other things", openai("The model `m` does not exist", "model", "model_not_found"), set()),
    ("a range", openai("temperature must be between 0 and 0.5", "temperature", "invalid_value"), set()),
    ("too long", openai("This model's maximum context length is 9 tokens. max_tokens is 9.", "messages", "x"), set()),
    ("an echo", {"detail": [{"msg": "Input is not supported", "loc": ["body", "messages"], "input": BODY}]}, set()),
]


@pytest.mark.parametrize(("body", "left_out"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_what_is_refused_by_name_is_left_out(body: Any, left_out: set[str]) -> None:
    parameters = RequestParameters("server")
    sent = parameters.fitted(BODY)
    parameters.learn(json.dumps(body), sent)
    assert sent.keys() - parameters.fitted(BODY).keys() == left_out
    assert bool(parameters.learnt) == bool(left_out)


def test_completions_without_the_likeliest_tokens_and_then_without_log_probabilities() -> None:
    parameters = RequestParameters("server")
    body = {"model": "m", "prompt": "q", "logprobs": 5}
    for most, then in ((1, {"logprobs": 1}), (0, {})):
        sent = parameters.fitted(body)
        words = f"Requested sample logprobs of {sent['logprobs']}, which is greater than max allowed: {most}"
        parameters.learn(json.dumps({"message": words + ", not supported"}), sent)
        assert parameters.fitted(body) == {"model": "m", "prompt": "q"} | then
    echo = body | {"echo": True, "max_tokens": 1}
    assert RequestParameters("server").fitted(echo) == echo


@pytest.mark.parametrize(
    ("ours", "other", "message"),
    [
        (
            "max_tokens",
            "max_completion_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.",
        ),
        ("max_completion_tokens", "max_tokens", "Unknown parameter: 'max_completion_tokens'."),
    ],
)
def test_the_limit_goes_under_the_name_that_the_server_knows(ours: str, other: str, message: str) -> None:
    parameters = RequestParameters("server")
    sent = {"model": "m", ours: 9, "temperature": 0.7}
    parameters.learn(json.dumps(openai(message, ours)), sent)
    assert parameters.fitted(sent) == {"model": "m", other: 9, "temperature": 0.7}
    assert parameters.learnt == (f"takes {other}",)


def test_what_the_configuration_adds_is_sent_and_never_dropped() -> None:
    parameters = RequestParameters("server", ("top_p", "seed"), {"temperature": 1, "provider": {"only": ["x"]}})
    sent = parameters.fitted(BODY)
    assert sent.keys() == BODY.keys() - {"top_p", "seed"} | {"provider"}
    assert sent["temperature"] == 1
    parameters.learn(json.dumps(openai("Unsupported parameter: 'temperature'.", "temperature")), sent)
    assert parameters.fitted(BODY) == sent


@pytest.mark.parametrize("given", [{"omit": ("model",)}, {"extra": {"messages": []}}])
def test_what_every_request_has_is_not_to_be_set(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"server: '\w+' can be neither omitted nor set in extra_body"):
        RequestParameters("server", **given)


def test_a_refusal_costs_one_request_once(caplog: pytest.LogCaptureFixture) -> None:
    """Eight requests at the same time learn the same thing; the ninth knows it; it is said once."""
    refusal = said(400, REFUSALS[0][1])
    fine = said(200, {"choices": []})

    async def ask(url: str) -> tuple[str, ...]:
        server = Server("strong model", url, "m", retries=0)
        try:
            await asyncio.gather(*(server.post("chat/completions", dict(BODY)) for _ in range(8)))
            await server.post("chat/completions", dict(BODY))
        finally:
            await server.aclose()
        return server.learnt

    with scripted_server() as scripted, caplog.at_level(logging.WARNING, "trim.backends"):
        script = scripted.add([lambda request: refusal if "temperature" in request else fine])
        learnt = asyncio.run(ask(script.url))
    assert learnt == ("does not take temperature, top_k, top_p: left out",)
    assert 10 <= len(script.requests) <= 17
    assert sum("temperature" in request for request in script.requests) == len(script.requests) - 9
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(f"strong model m at {script.url} does not take temperature")


def test_a_refusal_that_leaving_out_does_not_mend_is_told() -> None:
    async def ask(url: str) -> None:
        server = Server("strong model", url, "m", retries=3)
        try:
            await server.post("chat/completions", dict(BODY))
        finally:
            await server.aclose()

    with scripted_server() as scripted:
        script = scripted.add([said(400, REFUSALS[0][1])])
        with pytest.raises(BackendRefused, match="Only the default"):
            asyncio.run(ask(script.url))
        assert len(script.requests) == 2


def test_headers_query_and_the_place_of_the_key() -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    seen: list[Request] = []

    async def answer(request: Request) -> JSONResponse:
        seen.append(request)
        return JSONResponse({"data": [{"id": "models/m"}]})

    async def ask(url: str) -> tuple[tuple[str, ...], int | None]:
        server = Server(
            "judge",
            url,
            "m",
            api_key="sk-secret",
            extras=RequestExtras(headers={"X-Title": "t"}),
            key_header="api-key",
            retries=0,
        )
        try:
            assert "secret" not in server.name
            return await server.models()
        finally:
            await server.aclose()

    paths = ["/v1beta/openai/models", "/openai/v1/models", "/v1/models"]
    with listening(Starlette(routes=[Route(path, answer) for path in paths])) as url:
        for base in ("/v1beta/openai", "/openai/v1?api-version=2", ""):
            assert asyncio.run(ask(url + base)) == (("m",), None)
    assert [request.url.path for request in seen] == paths
    assert [request.url.query for request in seen] == ["", "api-version=2", ""]
    for request in seen:
        assert request.headers["api-key"] == "sk-secret"
        assert request.headers["x-title"] == "t"
        assert "authorization" not in request.headers


def test_what_is_asked_beside_the_api_has_the_same_headers() -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def answer(request: Request) -> JSONResponse:
        return JSONResponse({name: request.headers.get(name) for name in ("api-key", "x-title", "authorization")})

    async def ask(url: str) -> list[dict[str, object]]:
        server = Server(
            "weak",
            url,
            "m",
            api_key="sk-secret",
            extras=RequestExtras(headers={"X-Title": "t"}),
            key_header="api-key",
            retries=0,
        )
        try:
            return [await server.ask("/props"), await server.ask("/props", {"content": "x"})]
        finally:
            await server.aclose()

    with listening(Starlette(routes=[Route("/props", answer, methods=["GET", "POST"])])) as url:
        expected = {"api-key": "sk-secret", "x-title": "t", "authorization": None}
        assert asyncio.run(ask(f"{url}/v1")) == [expected, expected]
