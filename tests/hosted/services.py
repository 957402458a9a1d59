"""Ollama, LM Studio and hosted services as scripted servers: they refuse what the real ones refuse, in their words, and
stream as they do, by documentation and bug reports of 2025 and 2026. Shapes of chunks are those of `tests.conformance`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.backends.fake_server import SOLUTION, STEPS, tokens
from tests.conformance.kinds import DONE, KINDS, Json, Kind, event
from tests.conformance.scripted_server import Reply, Script, ScriptedServer, said

KEY = "sk-test-4093-abernethy"
QUESTION = "How many apples has Tom after he bought four? He had three before."
THOUGHTS = 30  # tokens of reasoning that is not shown
READ = 50  # tokens of every prompt
KNOWN = {kind.name: kind for kind in KINDS}


def unsupported(parameter: str, words: str = "", code: str = "unsupported_parameter") -> Reply:
    """A refusal as OpenAI words it."""
    words = words or f"Unsupported parameter: '{parameter}' is not supported with this model."
    return said(400, {"error": {"message": words, "type": "invalid_request_error", "param": parameter, "code": code}})


def refused_by_openai(body: Json) -> Reply | None:
    """By a current model: it reasons, so it takes no sampling parameters, stop strings or log-probabilities."""
    taken = {"model", "messages", "max_completion_tokens", "stream", "stream_options", "seed", "reasoning_effort"}
    if "max_tokens" in body:
        hint = "Use 'max_completion_tokens' instead."
        return unsupported(
            "max_tokens", f"Unsupported parameter: 'max_tokens' is not supported with this model. {hint}"
        )
    if body.get("temperature", 1) != 1:
        words = f"'temperature' does not support {body['temperature']} with this model. Only the default (1) value is"
        return unsupported("temperature", f"Unsupported value: {words} supported.", "unsupported_value")
    for name in body.keys() - taken - {"temperature"}:
        if name in ("top_p", "stop", "logprobs", "top_logprobs"):
            return unsupported(name)
        return unsupported(name, f"Unknown parameter: '{name}'.", "unknown_parameter")
    if body["messages"][-1]["role"] == "assistant":
        body["messages"].append({"role": "user", "content": ""})  # no continuation: a new turn
    return None


def refused_by_anthropic(body: Json) -> Reply | None:
    """By a current model, through the endpoint with OpenAI's API; unknown fields are ignored there."""

    def refusal(words: str) -> Reply:
        return said(
            400, {"error": {"code": "invalid_request_error", "message": words, "type": "invalid_request_error"}}
        )

    if "temperature" in body and "top_p" in body:
        return refusal("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    for name in ("temperature", "top_p", "top_k"):
        if name in body:
            return refusal(f"`{name}` is deprecated for this model.")
    if body["messages"][-1]["role"] == "assistant":
        words = "This model does not support assistant message prefill. The conversation must end with a user message."
        return refusal(words)
    if any(not stop.strip() for stop in body.get("stop") or ()):
        return refusal("stop_sequences: each stop sequence must contain non-whitespace")
    return None


def refused_by_gemini(body: Json) -> Reply | None:
    taken = {"model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options", "temperature"}
    taken |= {"top_p", "stop", "n", "response_format", "reasoning_effort", "extra_body"}
    unknown = [
        f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.' for name in body.keys() - taken
    ]
    if unknown:
        error = {"code": 400, "message": "\n".join(unknown), "status": "INVALID_ARGUMENT"}
        return said(400, [{"error": error}])
    return None


def nothing_refused(body: Json) -> Reply | None:
    return None


@dataclass(frozen=True)
class Service:
    """A kind of server with its rules.

    Args:
        kind: what a configuration calls it.
        shape: of its chunks.
        model: the only one that it has.
        refused: its refusal of a request, if it refuses it.
        unknown_model, unknown_key: its answers to a wrong model and a wrong key; None: it has no keys.
        base: the path of its API.
        keys: headers that may carry the key.
        raw: its `/completions` continues the text that it is sent; else a chat template is put around it.
        prefill: a last assistant message is continued.
        thinks: its model reasons, which is counted and not shown; "apart": counted in the total only.
    """

    kind: str
    shape: Kind
    model: str
    refused: Callable[[Json], Reply | None]
    unknown_model: Reply
    unknown_key: Reply | None = None
    base: str = "/v1"
    keys: tuple[str, ...] = ("authorization",)
    raw: bool = False
    prefill: bool = False
    thinks: str = ""

    def serve(self, server: ScriptedServer, every: float = 0.0) -> Served:
        """Serve it; `every`: seconds between two chunks."""
        served = Served(self, every)
        served.script = server.add([served.answer], self.base)
        return served


class Served:
    """A service at an address."""

    script: Script

    def __init__(self, service: Service, every: float) -> None:
        self.service = service
        self.every = every
        self.fails_after: int | None = None  # chunks, in the next stream
        self.written: list[int] = []  # tokens of each answer, as it would count them

    @property
    def name(self) -> str:
        """As a configuration names the model."""
        return f"{self.service.kind}/{self.service.model}@{self.script.url}"

    def answer(self, body: Json) -> Reply:
        """To one request."""
        service, headers, path = self.service, self.script.headers[-1], self.script.paths[-1]
        given = {headers.get(name, "").removeprefix("Bearer ") for name in service.keys} - {""}
        if service.unknown_key is not None and given != {KEY}:
            return service.unknown_key
        if not path.startswith(service.base + "/") or not path.endswith("completions"):
            return said(404, {"error": {"message": f"Unknown request URL: POST {path}.", "code": "unknown_url"}})
        if body.get("model") != service.model:
            return service.unknown_model
        chat = path.endswith("/chat/completions")
        if (refusal := service.refused(body)) is not None:
            return refusal
        said_ = self.says(body, chat=chat)
        return self.stream(body, said_, chat=chat) if body.get("stream") else self.whole(said_, chat=chat)

    def says(self, body: Json, *, chat: bool) -> list[str]:
        """What the model writes: the rest of the solution, or a judgement."""
        text = body["messages"][-1]["content"] if chat else body["prompt"]
        if "Is the last step" in text:  # the second step is never right
            _, _, after = text.rpartition(STEPS[0].strip())
            return ["No" if STEPS[1].strip() in after and STEPS[2].strip() not in after else "Yes"]
        continues = (chat and body["messages"][-1]["role"] == "assistant") or (not chat and self.service.raw)
        if not chat and not self.service.raw:
            return ["It seems that you have shared a prompt with special tokens."]
        if continues:
            assert self.service.prefill or not chat
            begun = max(n for n in range(len(SOLUTION) + 1) if text.endswith(SOLUTION[:n]))
            return tokens(SOLUTION[begun:])
        begun = next((n for n in range(len(SOLUTION), 5, -1) if SOLUTION[:n] in text), 0)
        return tokens(SOLUTION[begun:].lstrip())

    def stream(self, body: Json, parts: Sequence[str], *, chat: bool) -> Reply:
        """The chunks, in the shape of the service."""
        shape = self._shape(chat=chat)
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or 10_000
        finish = "stop" if len(parts) < limit else "length"
        parts = parts[:limit]
        asked = body.get("stream_options", {}).get("include_usage", False)
        if shape.running:
            running = [self.counts(n + 1) for n in range(len(parts))]
            chunks = [shape.chunk(part, usage=counts) for part, counts in zip(parts, running, strict=True)]
            pieces = [*shape.head, *map(event, chunks)]
            pieces.append(event(shape.chunk(None, finish, usage=self.counts(len(parts)))))
        else:
            pieces = shape.events(parts, finish=finish, usage=self.counts(len(parts)) if asked else None)
        self.written.append(self.counts(len(parts))["total_tokens"] - READ)
        if self.fails_after is not None:
            # As OpenRouter tells it: the status was sent long ago.
            broken = shape.chunk("", "error", error={"code": 502, "message": "Provider disconnected unexpectedly"})
            pieces, self.fails_after = [*pieces[: self.fails_after], event(broken)], None
        return Reply([*pieces, DONE], every=self.every)

    def whole(self, parts: Sequence[str], *, chat: bool) -> Reply:
        """An answer in one piece."""
        answer = self._shape(chat=chat).whole("".join(parts))
        return said(200, answer | {"usage": self.counts(len(parts))})

    def _shape(self, *, chat: bool) -> Kind:
        return replace(self.service.shape, continuation="chat" if chat else "completions")

    def counts(self, written: int) -> Json:
        """What an answer of so many tokens is counted as."""
        thoughts = THOUGHTS if self.service.thinks else 0
        shown = written + (thoughts if self.service.thinks != "apart" else 0)
        counts: Json = {"prompt_tokens": READ, "completion_tokens": shown, "total_tokens": READ + written + thoughts}
        if self.service.thinks == "inside":
            counts["completion_tokens_details"] = {"reasoning_tokens": thoughts}
        return counts


def _wrong_key(words: str, status: int = 401) -> Reply:
    return said(status, {"error": {"message": words, "type": "invalid_request_error", "code": "invalid_api_key"}})


def _error(status: int, message: str, **more: Any) -> Reply:
    return said(status, {"error": {"message": message, **more}})


SERVICES = [
    Service(
        "ollama",
        replace(KNOWN["ollama"], continuation="chat"),
        "qwen2.5:1.5b",
        nothing_refused,
        _error(404, 'model "m" not found, try pulling it first', type="not_found_error", param=None, code=None),
        prefill=True,
    ),
    Service(
        "lm-studio",
        KNOWN["lm studio"],
        "qwen2.5-7b-instruct",
        nothing_refused,
        _error(404, "Model not found", type="invalid_request_error", code="model_not_found"),
        raw=True,
        prefill=True,
    ),
    Service(
        "openai",
        KNOWN["openai"],
        "gpt-5-mini",
        refused_by_openai,
        _error(404, "The model `m` does not exist or you do not have access to it.", code="model_not_found"),
        _wrong_key("Incorrect API key provided: sk-wrong. You can find your API key at https://platform.openai.com."),
        thinks="inside",
    ),
    Service(
        "anthropic",
        KNOWN["anthropic"],
        "claude-opus-4-8",
        refused_by_anthropic,
        _error(404, "model: m", type="not_found_error"),
        _wrong_key("invalid x-api-key"),
    ),
    Service(
        "gemini",
        KNOWN["gemini"],
        "gemini-2.5-flash",
        refused_by_gemini,
        said(404, [{"error": {"code": 404, "message": "models/m is not found for API version v1main"}}]),
        said(400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]),
        base="/v1beta/openai",
        thinks="apart",
    ),
    Service(
        "openrouter",
        KNOWN["openrouter"],
        "qwen/qwen-2.5-7b-instruct:free",
        nothing_refused,
        _error(400, "m is not a valid model ID", code=400),
        _wrong_key("No auth credentials found"),
        base="/api/v1",
        prefill=True,
    ),
    Service(
        "azure",
        KNOWN["azure"],
        "my-deployment",
        refused_by_openai,
        _error(404, "The API deployment for this resource does not exist.", code="DeploymentNotFound"),
        _error(401, "Access denied due to invalid subscription key or wrong API endpoint.", code="401"),
        base="/openai/v1",
        keys=("authorization", "api-key"),
        thinks="inside",
    ),
]


def shown(text: str) -> str:
    """A text without the white space that services add or trim."""
    return re.sub(r"\s+", " ", text).strip()
