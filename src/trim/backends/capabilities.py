"""What kinds of servers can do.

Declared, not discovered: servers ignore or refuse what they don't know, some silently, so an extra field goes only to a
kind that is known to take it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trim.errors import ConfigError

Continuation = Literal["completions", "chat", "instruct"]
"""How a client has a server continue a text; see `trim.backends.openai`."""

ChatContinuation = Literal["flags", "trailing", "prefix", "none"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One kind of server.

    Args:
        completions: has `/completions`, which continues a text.
        chat: how its chat continues a partial answer. flags: `continue_final_message` and `add_generation_prompt:
            false`; trailing: a last assistant message is enough; prefix: that message needs `"prefix": true`;
            none: it can't.
        repeats_prefix: its chat replies begin with the partial answer that they continue; None: some do, each is tried.
        stream: answers in chunks.
        stop: `stops` says that the text ended at a stop string and at which ("tells", as `stop_reason` or
            `matched_stop`); it says so among what `verbose` asks for ("verbose"); the stop string stays in the text
            ("keeps"); none of these, so that a stop looks like the end of the solution and none may be sent ("hides").
        usage: token counts at the end of a stream, on request (`stream_options.include_usage`).
        running_usage: token counts in every chunk (`stream_options.continuous_usage_stats`).
        timings: the same, with `timings_per_token`.
        top_k: takes `top_k`.
        seed: takes `seed`.
        top_p: takes `top_p` beside `temperature`.
        logprobs: gives the log-probability of every token that it writes, and the likeliest tokens in its place. Of the
            hosted services' models some refuse it, and Ollama before 0.12.11 leaves it out.
        max_tokens: the name of the limit in chat requests.
        any_model: it has one model and takes any name for it.
        lists_models: a model that it has is in its list of models, by the name that requests have for it.
        key_header: the header for the API key; empty: `Authorization`.
        tells: of its model more than the list of models does: "props", its chat template in `/props`; "render", renders
            conversations with `/tokenize` and `/detokenize`; "ollama" and "lm-studio", the context in their own APIs.
        tokenize: the field of a text that `/tokenize` counts; empty: there is no such path.
    """

    completions: bool = True
    chat: ChatContinuation = "none"
    repeats_prefix: bool | None = False
    stream: bool = True
    stop: Literal["tells", "verbose", "keeps", "hides"] = "hides"
    usage: bool = True
    running_usage: bool = False
    timings: bool = False
    top_k: bool = False
    seed: bool = True
    top_p: bool = True
    logprobs: bool = False
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    any_model: bool = False
    lists_models: bool = True
    key_header: str = ""
    tells: Literal["", "props", "render", "ollama", "lm-studio"] = ""
    tokenize: Literal["", "content", "prompt"] = ""


BACKENDS: dict[str, Capabilities] = {
    "vllm": Capabilities(
        chat="flags", stop="tells", running_usage=True, top_k=True, logprobs=True, tells="render", tokenize="prompt"
    ),
    "sglang": Capabilities(
        chat="flags", stop="tells", running_usage=True, top_k=True, logprobs=True, tells="render", tokenize="prompt"
    ),
    "llama-server": Capabilities(
        chat="trailing",
        repeats_prefix=None,
        stop="verbose",
        timings=True,
        top_k=True,
        logprobs=True,
        any_model=True,
        tells="props",
        tokenize="content",
    ),
    "llama-cpp-python": Capabilities(usage=False, top_k=True, any_model=True),
    "transformers": Capabilities(stop="keeps", usage=False, seed=True),
    "mistral": Capabilities(completions=False, chat="prefix", repeats_prefix=True, seed=False),
    "deepseek": Capabilities(completions=False, chat="prefix", seed=False, logprobs=True),
    "openrouter": Capabilities(chat="trailing", repeats_prefix=None, top_k=True, lists_models=False),
    "openai": Capabilities(completions=False, max_tokens="max_completion_tokens", logprobs=True),
    "azure": Capabilities(
        completions=False,
        max_tokens="max_completion_tokens",
        logprobs=True,
        lists_models=False,
        key_header="api-key",
    ),
    "anthropic": Capabilities(completions=False, chat="trailing", seed=False, top_p=False),
    "gemini": Capabilities(completions=False, seed=False),
    "groq": Capabilities(completions=False),
    "xai": Capabilities(completions=False),
    "together": Capabilities(chat="trailing", repeats_prefix=None, top_k=True),
    # Its /completions puts a chat template around the text.
    "ollama": Capabilities(completions=False, chat="trailing", logprobs=True, tells="ollama"),
    "lm-studio": Capabilities(chat="trailing", top_k=True, tells="lm-studio"),
    "generic": Capabilities(),  # anything else that speaks OpenAI's API: nothing but the basics is sent
}


def capabilities(backend: str) -> Capabilities:
    """What this kind of server can do.

    Raises:
        ConfigError: the kind is not known.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend {backend!r} is not known; choose one of {', '.join(BACKENDS)}")
    return BACKENDS[backend]


def gives_logprobs(backend: str) -> bool:
    """Whether this kind of server gives log-probabilities; False for a kind that is not known."""
    kind = "llama-server" if backend == "gguf" else backend
    return kind in BACKENDS and BACKENDS[kind].logprobs
