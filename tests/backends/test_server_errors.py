"""What servers say when something is wrong: their own words, with where they were found."""
# ruff: noqa: E501 (quotations)

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any

import pytest

from trim.backends.server_errors import backend_error, describe, reply_of, retry_after, told_error
from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ContentFiltered,
    InputTooLong,
    OutputTooLong,
    QuotaExhausted,
    RateLimited,
)

# (server, source, status, body, limit, prompt); a source is a repository and the number of its issue or pull request.
OVERFLOWS: list[tuple[str, str, int, Any, int | None, int | None]] = [
    (
        "vllm, old",
        "vllm-project/vllm#20409",
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens "
            "(112946 in the messages, 10000 in the completion). Please reduce the length of the messages or completion.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        16384,
        112946,
    ),
    (
        "vllm, too large",
        "vllm-project/vllm#19861",
        400,
        {
            "object": "error",
            "message": "'max_tokens' or 'max_completion_tokens' is too large: 30000. This model's maximum context length "
            "is 32768 tokens and your request has 11008 input tokens (30000 > 32768 - 11008).",
        },
        32768,
        11008,
    ),
    (
        "vllm, new",
        "vllm-project/vllm#42474",
        400,
        {
            "error": {
                "message": "This model's maximum context length is 128000 tokens. However, you requested 65535 output "
                "tokens and your prompt contains at least 62466 input tokens, for a total of at least 128001 tokens. "
                "Please reduce the length of the input prompt or the number of requested output tokens. "
                "(parameter=input_tokens, value=62466)",
                "type": "BadRequestError",
                "param": "input_tokens",
                "code": 400,
            }
        },
        128000,
        62466,
    ),
    (
        "vllm, decoder prompt",
        "Gabesarch/grounded-rl#16",
        400,
        {
            "object": "error",
            "message": "The decoder prompt (length 10127) is longer than the maximum model length of 8192. Make sure that "
            "`max_model_len` is no smaller than the number of text tokens plus multimodal tokens.",
        },
        8192,
        10127,
    ),
    (
        "vllm, total length",
        "vllm-project/vllm#12165",
        400,
        "The prompt (total length 25938) is too long to fit into the model (context length 4096). Make sure that "
        "`max_model_len` is no smaller than the number of text tokens plus multimodal tokens.",
        4096,
        None,
    ),
    (
        "tgi",
        "huggingface/chat-ui#1149",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8192. Given: 6204 `inputs` "
            "tokens and 2047 `max_new_tokens`",
            "error_type": "validation",
        },
        8192,
        6204,
    ),
    (
        "tgi, input alone",
        "huggingface/text-generation-inference#695",
        422,
        {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 1168"},
        1024,
        1168,
    ),
    (
        "sglang, old",
        "QwenLM/Qwen3#1321",
        400,
        {
            "object": "error",
            "message": "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        40960,
        61709,
    ),
    (
        "sglang, new",
        "anomalyco/opencode#25230",
        400,
        {
            "error": {
                "message": "Requested token count exceeds the model's maximum context length of 202752 tokens. You "
                "requested a total of 202941 tokens: 170941 tokens from the input messages and 32000 tokens for the "
                "completion. Please reduce the number of tokens in the input messages or the completion to fit within "
                "the limit."
            }
        },
        202752,
        170941,
    ),
    (
        "sglang, length",
        "sgl-project/sglang#4048",
        400,
        {"message": "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens)."},
        59862,
        160062,
    ),
    (
        "openai, completions",
        "langchain-ai/langchain#11001",
        400,
        {
            "error": {
                "message": "This model's maximum context length is 4097 tokens, however you requested 4226 tokens (3970 "
                "in your prompt; 256 for the completion). Please reduce your prompt; or completion length.",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            }
        },
        4097,
        3970,
    ),
    (
        "openai",
        "smol-ai/developer#7",
        400,
        {
            "error": {
                "message": "This model's maximum context length is 4097 tokens. However, your messages resulted in 7575 "
                "tokens. Please reduce the length of the messages.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
        4097,
        7575,
    ),
    (
        "openai, responses",
        "anomalyco/opencode packages/llm/src/provider-error.ts",
        400,
        {
            "error": {
                "message": "Your input exceeds the context window of this model. Please adjust your input and try again.",
                "code": "context_length_exceeded",
            }
        },
        None,
        None,
    ),
    (
        "azure",
        "webtimemachine/wtm2#579, in Azure's shape",
        400,
        {
            "error": {
                "message": "This model's maximum context length is 128000 tokens. However, your messages resulted in "
                "204308 tokens. Please reduce the length of the messages.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
                "status": 400,
            }
        },
        128000,
        204308,
    ),
    (
        "anthropic",
        "anthropics/claude-code#12186",
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 208310 tokens > 200000 maximum"},
        },
        200000,
        208310,
    ),
    (
        "anthropic, with max_tokens",
        "stackblitz/bolt.new#7422",
        400,
        {
            "error": {
                "message": "input length and `max_tokens` exceed context limit: 86888 + 119866 > 204648, decrease input "
                "length or `max_tokens` and try again"
            }
        },
        204648,
        86888,
    ),
    (
        "gemini",
        "google-gemini/gemini-cli#6678",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        1048576,
        1200293,
    ),
    (
        "gemini, no count",
        "arkavo-org/arkavo-edge#371",
        400,
        {"error": {"message": "The input token count exceeds the maximum number of tokens allowed 1048576."}},
        1048576,
        None,
    ),
    (
        "xai",
        "cline/cline#3120",
        400,
        {
            "code": "invalid-argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 136973 tokens.",
        },
        131072,
        136973,
    ),
    (
        "groq",
        "letta-ai/letta#1963",
        400,
        {
            "error": {
                "message": "Please reduce the length of the messages or completion.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
        None,
        None,
    ),
    (
        "mistral",
        "anomalyco/opencode packages/llm/src/provider-error.ts",
        400,
        {
            "object": "error",
            "message": "Prompt contains 40118 tokens and 0 draft tokens, too large for model with 32768 maximum context "
            "length",
            "type": "invalid_request_error",
            "code": "3051",
        },
        32768,
        40118,
    ),
    (
        "deepseek",
        "FoundationAgents/OpenManus#79",
        400,
        {
            "error": {
                "message": "This model's maximum context length is 65536 tokens. However, you requested 66343 tokens "
                "(62247 in the messages, 4096 in the completion). Please reduce the length of the messages or "
                "completion.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_request_error",
            }
        },
        65536,
        62247,
    ),
    (
        "openrouter",
        "openxjarvis/pi-mono-python packages/ai/src/pi_ai/utils/overflow.py",
        400,
        {
            "error": {
                "message": "This endpoint's maximum context length is 1048576 tokens. However, you requested about "
                "1293741 tokens (1227853 of text input, 353 of tool input, 65535 in the output). Please reduce the "
                "length of either one.",
                "code": 400,
            }
        },
        1048576,
        1227853,
    ),
    (
        "together",
        "huggingface/tgi-gaudi#146",
        422,
        {
            "error": {
                "message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 32512. Given: 32008 "
                "`inputs` tokens and 512 `max_new_tokens`",
                "type": "invalid_request_error",
            }
        },
        32512,
        32008,
    ),
    (
        "fireworks",
        "anomalyco/opencode packages/llm/src/provider-error.ts",
        400,
        {
            "error": {
                "object": "error",
                "type": "invalid_request_error",
                "message": "The prompt is too long: 140001, model maximum context length: 131071",
            }
        },
        None,
        140001,
    ),
    (
        "cohere",
        "cohere-ai/sandbox-topically#4",
        400,
        {
            "message": "too many tokens: total number of tokens (prompt and prediction) cannot exceed 2048 - received "
            "6354. Try using a shorter prompt or a smaller max_tokens value."
        },
        2048,
        None,
    ),
    ("bedrock", "aws-samples/bedrock-chat#95", 400, {"message": "Input is too long for requested model."}, None, None),
    (
        "bedrock, claude",
        "aaif-goose/goose#7504",
        400,
        {"message": "The model returned the following errors: prompt is too long: 227255 tokens > 200000 maximum"},
        200000,
        227255,
    ),
    (
        "llama-server, first",
        "ggml-org/llama.cpp#15780",
        500,
        {
            "error": {
                "code": 500,
                "message": "the request exceeds the available context size. try increasing the context size or enable "
                "context shift",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 1407,
                "n_ctx": 256,
            }
        },
        256,
        1407,
    ),
    (
        "llama-server",
        "oobabooga/textgen#7263, ggml-org/llama.cpp#16486",
        400,
        {
            "error": {
                "code": 400,
                "message": "request (14429 tokens) exceeds the available context size (8192 tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 14429,
                "n_ctx": 8192,
            }
        },
        8192,
        14429,
    ),
    (
        "llama-cpp-python",
        "fedora-copr/logdetective-website#193",
        400,
        {
            "error": {
                "message": "This model's maximum context length is 2048 tokens, however you requested 2285 tokens (2269 "
                "in your prompt; 16 for the completion). Please reduce your prompt; or completion length.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
        2048,
        2269,
    ),
    (
        "llama-cpp-python, raw",
        "rllm-team/rllm#55",
        500,
        {"error": {"message": "Requested tokens (516) exceed context window of 512", "type": "internal_server_error"}},
        512,
        516,
    ),
    (
        "ollama",
        "RooCodeInc/Roo-Code#1767; ITSpecialist111/ai_automation_suggester#37",
        500,
        {"error": "input length exceeds the context length"},
        None,
        None,
    ),
    (
        "ollama, new",
        "anomalyco/opencode packages/llm/src/provider-error.ts",
        400,
        {"error": {"message": "prompt too long; exceeded max context length by 1204 tokens", "type": "api_error"}},
        None,
        None,
    ),
    (
        "lm studio",
        "lmstudio-ai/lmstudio-bug-tracker#237",
        400,
        {
            "error": "Trying to keep the first 15857 tokens when context the overflows. However, the model is loaded with "
            "context length of only 4096 tokens, which is not enough. Try to load the model with a larger context "
            "length, or provide a shorter input. Error Data: n/a, Additional Data: n/a"
        },
        4096,
        15857,
    ),
    (
        "lm studio, in the middle",
        "lmstudio-ai/lmstudio-bug-tracker#1251",
        200,
        {
            "error": {
                "message": "Reached context length of 4096 tokens with model (arch: qwen3vlmoe) that does not currently "
                "support mid-generation context overflow. Try reloading with a larger context length or shortening the "
                "prompt/chat."
            }
        },
        4096,
        None,
    ),
    ("mlx", "ddalcu/mlx-serve#66", 400, {"error": {"message": "Prompt exceeds maximum context length"}}, None, None),
    (
        "tensorrt-llm",
        "NVIDIA/TensorRT-LLM#9277",
        400,
        {"message": "The sum of prompt length (9351.0), query length (0) should not exceed max_num_tokens (8192)"},
        8192,
        9351,
    ),
    (
        "tensorrt-llm, triton",
        "triton-inference-server/tensorrtllm_backend#141",
        500,
        "Cannot process new request: Prompt length (5056) exceeds maximum sequence length (2048)",
        2048,
        5056,
    ),
    (
        "litellm",
        "BerriAI/litellm#10431",
        400,
        {
            "error": {
                "message": "litellm.ContextWindowExceededError: litellm.BadRequestError: DeepseekException - This model's "
                "maximum context length is 65536 tokens. However, you requested 68161 tokens (68161 in the messages, 0 "
                "in the completion)."
            }
        },
        65536,
        68161,
    ),
    (
        "a proxy before it",
        "nginx",
        413,
        "<html><head><title>413 Request Entity Too Large</title></head></html>",
        None,
        None,
    ),
]


def made(status: int, body: object, headers: dict[str, str] | None = None) -> BackendError:
    text = body if isinstance(body, str) else json.dumps(body)
    if status == 200:
        assert isinstance(body, dict)
        reply = told_error(body)
        assert reply is not None
        return backend_error("weak model m at http://h", reply)
    return backend_error("weak model m at http://h", reply_of(status, text, headers))


@pytest.mark.parametrize("row", OVERFLOWS, ids=lambda row: row[0])
def test_a_text_that_does_not_fit_is_one_kind_of_error_in_every_wording(row: tuple[Any, ...]) -> None:
    _, _, status, body, limit, prompt = row
    error = made(status, body)
    assert type(error) is InputTooLong
    assert not error.retryable
    assert (error.limit, error.prompt) == (limit, prompt)
    assert error.problem.split(": ", 1)[-1][:20] in json.dumps(body, ensure_ascii=False) or "HTML" in error.problem


@pytest.mark.parametrize(
    ("status", "body", "kind", "limit"),
    [
        # langflow, code-gpt-docs#284
        (
            400,
            "max_tokens is too large: 6000. This model supports at most 4096 completion tokens, whereas you provided 6000.",
            OutputTooLong,
            4096,
        ),
        (400, "`max_tokens` must be less than or equal to `16384`", OutputTooLong, 16384),  # opencode#1000
        (400, "max_tokens for `llama-3.1-8b-instant` must be less than or equal to 8000", OutputTooLong, 8000),
        (
            400,
            "max_completion_tokens must be less than or equal to 40960, the maximum value for max_completion_tokens is "
            "less than the context_window for this model",
            OutputTooLong,
            40960,
        ),  # free-claude-code#955
        (400, "max_tokens (384000) exceeds model's maximum output tokens (65536) for model d", OutputTooLong, 65536),
        (
            400,
            "max_tokens: 10000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet",
            OutputTooLong,
            8192,
        ),
        (400, "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", OutputTooLong, 8192),
        (422, "Input validation error: `max_new_tokens` must be <= 192", OutputTooLong, 192),  # transformers#28523
    ],
)
def test_too_many_completion_tokens_are_another_kind(
    status: int, body: str, kind: type[OutputTooLong], limit: int
) -> None:
    error = made(status, {"error": {"message": body}})
    assert type(error) is kind
    assert isinstance(error, OutputTooLong)
    assert error.limit == limit


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, "Throttling error: Too many tokens, please wait before trying again", RateLimited),
        (429, "Rate limit reached for gpt-4 on tokens per min (TPM): Limit 10000, Used 9800", RateLimited),
        (429, "Limit of tokens per minute exceeded: too many tokens", RateLimited),
        (503, "Too many requests, throttled", RateLimited),
        # Groq: more tokens in one request than in a minute are allowed. Waiting does not help, nor is it the context.
        (
            413,
            "Request too large for model `llama-3.3-70b-versatile` in organization `o` service tier `on_demand` on tokens "
            "per minute (TPM): Limit 6000, Requested 14810, please reduce your message size and try again.",
            BackendRefused,
        ),
        (400, "temperature must be at most 2", BackendRefused),
        (400, "Unknown field: continue_final_message", BackendRefused),
        (401, "Incorrect API key provided", BackendRefused),
        (404, "The model `gpt-9` does not exist or you do not have access to it. Context length 5", BackendRefused),
        (408, "slow", BackendTimeout),
        (409, "conflict", BackendUnavailable),
        (500, "CUDA error", BackendUnavailable),
        (502, "<html><head><title>502 Bad Gateway</title></head></html>", BackendUnavailable),
        (529, "Overloaded", BackendUnavailable),
    ],
)
def test_other_errors_are_no_overflow(status: int, body: str, kind: type[BackendError]) -> None:
    error = made(status, body if body.startswith("<") else {"error": {"message": body}})
    assert type(error) is kind


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (402, {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}),  # DeepSeek
        (402, {"error": {"message": "This request requires more credits, or fewer max_tokens.", "code": 402}}),
        (
            429,
            {
                "error": {
                    "message": "You exceeded your current quota, please check your plan and billing details.",
                    "type": "insufficient_quota",
                    "code": "insufficient_quota",
                }
            },
        ),  # OpenAI
        (429, {"error": {"message": "Your account is not active", "code": "billing_not_active"}}),
        (400, {"error": {"message": "Your credit balance is too low to access the Anthropic API."}}),
        (
            403,
            {"error": "Your team has either used all available credits or reached its monthly spending limit."},
        ),  # xAI
        (200, {"error": {"message": "Insufficient credits", "code": 402}}),  # OpenRouter, in a stream
    ],
)
def test_an_empty_account_is_not_a_busy_server(status: int, body: dict[str, Any]) -> None:
    error = made(status, body)
    assert type(error) is QuotaExhausted
    assert not error.retryable
    assert "no credit or quota left" in str(error)


def test_a_quota_of_the_minute_is_a_rate_limit() -> None:
    """Gemini calls both by one name, but says when to come back."""
    body = {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota, please check your plan and billing details.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}],
        }
    }
    assert type(made(429, body)) is RateLimited
    assert type(made(429, {"error": body["error"] | {"details": []}}, {"retry-after": "4"})) is RateLimited
    exhausted = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    assert type(made(429, exhausted, {"retry-after": "4"})) is QuotaExhausted


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (
            400,
            {
                "error": {
                    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management "
                    "policy. Please modify your prompt and retry.",
                    "type": None,
                    "param": "prompt",
                    "code": "content_filter",
                    "status": 400,
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
        ),
        (400, {"error": {"message": "Output blocked by content filtering policy", "type": "invalid_request_error"}}),
        (
            400,
            {"error": {"message": "Input data may contain inappropriate content.", "code": "data_inspection_failed"}},
        ),
        (403, {"error": {"code": 403, "message": "m requires moderation on p. Your input was flagged for violence"}}),
        (200, {"error": {"message": "blocked", "code": "content_filter"}}),
    ],
)
def test_a_content_filter_is_a_kind_of_its_own(status: int, body: dict[str, Any]) -> None:
    assert type(made(status, body)) is ContentFiltered


def test_retry_after_in_seconds_milliseconds_and_as_a_date() -> None:
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "0.5"}) == 0.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": formatdate(time.time() + 30, usegmt=True)}) == pytest.approx(30, abs=2)
    assert retry_after({"retry-after": formatdate(time.time() - 30, usegmt=True)}) == 0
    for nonsense in ("soon", "nan", "inf", ""):
        assert retry_after({"retry-after": nonsense}) is None
    error = made(429, {"error": "slow down"}, {"retry-after": "7"})
    assert isinstance(error, RateLimited)
    assert error.retry_after == 7
    assert made(503, "x", {"retry-after": "3"}).__dict__["retry_after"] == 3


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"error": {"message": "a  b\n c"}}, "a b c"),
        ({"error": "a"}, "a"),
        ({"message": "a"}, "a"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required"),
        ([{"error": {"message": "a"}}], "a"),
        ({"error": {"code": "broken"}}, "broken"),
        ("plain words", "plain words"),
        ("<!DOCTYPE html><html><TITLE>Log\n in</TITLE></html>", "an HTML page titled 'Log in'"),
        ("<html><body><center><h1>502 <b>Bad</b> Gateway</h1></body></html>", "an HTML page titled '502 Bad Gateway'"),
        ("<html></html>", "an HTML page"),
    ],
)
def test_the_message_is_found_in_any_shape(value: object, words: str) -> None:
    assert describe(value) == words


def test_the_key_and_long_texts_stay_out_of_messages() -> None:
    error = backend_error("m", reply_of(401, json.dumps({"error": "bad key sk-secret-1 " + "x" * 900})), "sk-secret-1")
    assert "sk-secret-1" not in str(error)
    assert "[key]" in str(error)
    assert len(error.problem) < 330


def test_an_object_without_an_error_is_none() -> None:
    assert told_error({"choices": []}) is None
    assert told_error({"choices": [], "error": None}) is None
    assert told_error({"object": "error", "message": "no", "code": 400}) is not None
