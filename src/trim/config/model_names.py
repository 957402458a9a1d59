"""A model in one word: `KIND/MODEL[@URL]`, such as `ollama/qwen2.5:1.5b` or `vllm/Qwen/Qwen2.5-7B@http://gpu:8001`.

The kind says how the server is spoken to, where it usually listens and which variable holds its key.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from trim.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Preset:
    """What a kind of server needs no configuration for.

    Args:
        title: what people call it.
        base_url: where it listens unless a name says otherwise; empty: a name must say so, or it has no address.
        api_key_env: variable with its key; empty: it needs none.
        continuation: how a partial answer is continued, see `trim.backends.openai`.
        needs_model: whether a name must say which model; a llama-server has one.
    """

    title: str
    base_url: str = ""
    api_key_env: str = ""
    continuation: Literal["completions", "chat", "instruct"] = "completions"
    needs_model: bool = True


PRESETS: dict[str, Preset] = {
    "embedded": Preset("the shipped models, in this process", needs_model=False),
    "gguf": Preset("a GGUF file, in this process"),
    "llama-server": Preset("llama.cpp's server", "http://127.0.0.1:8080/v1", needs_model=False),
    "ollama": Preset("Ollama", "http://127.0.0.1:11434/v1"),
    "lm-studio": Preset("LM Studio", "http://127.0.0.1:1234/v1"),
    "vllm": Preset("vLLM", "http://127.0.0.1:8000/v1"),
    "sglang": Preset("SGLang", "http://127.0.0.1:30000/v1"),
    "llama-cpp-python": Preset("llama-cpp-python's server", "http://127.0.0.1:8000/v1"),
    "transformers": Preset("transformers serve", "http://127.0.0.1:8000/v1"),
    "openai": Preset("OpenAI", "https://api.openai.com/v1", "OPENAI_API_KEY", "instruct"),
    "azure": Preset("Azure OpenAI", "", "AZURE_OPENAI_API_KEY", "instruct"),
    "anthropic": Preset("Anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "instruct"),
    "gemini": Preset("Gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", "instruct"),
    "openrouter": Preset("OpenRouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "chat"),
    "mistral": Preset("Mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", "chat"),
    "deepseek": Preset("DeepSeek", "https://api.deepseek.com/beta", "DEEPSEEK_API_KEY", "chat"),
    "groq": Preset("Groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", "instruct"),
    "together": Preset("Together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", "instruct"),
    "xai": Preset("xAI", "https://api.x.ai/v1", "XAI_API_KEY", "instruct"),
    "generic": Preset("any other server with OpenAI's API"),
}


def is_model_name(text: str) -> bool:
    """Whether a text begins with a kind of server."""
    return text == "embedded" or (text.partition("/")[0] in PRESETS and "/" in text)


def settings_of(name: str, role: str) -> dict[str, str]:
    """The keys of a table of a configuration that a model's name stands for.

        >>> settings_of("ollama/qwen2.5:1.5b", "weak")["base_url"]
        'http://127.0.0.1:11434/v1'

    Args:
        name: `KIND/MODEL[@URL]`.
        role: whose table, for errors.

    Raises:
        ConfigError: there is no such kind, or the model or the address is missing.
    """
    kind, _, rest = name.partition("/")
    preset = PRESETS.get(kind)
    if preset is None:
        near = difflib.get_close_matches(kind, PRESETS, 1)
        hint = f"did you mean {near[0]}/...?" if near else f"kinds are {', '.join(PRESETS)}"
        raise ConfigError(f"[{role}] model {name!r}: {kind!r} is not a kind of server; {hint}")
    model, url = _split(rest)
    if preset.needs_model and not model:
        raise ConfigError(f"[{role}] model {name!r}: say which model: {kind}/MODEL")
    if kind in ("embedded", "gguf"):
        if url:
            raise ConfigError(f"[{role}] model {name!r}: it runs in this process and has no address")
        return {"backend": kind, "model": model}
    base_url = url or preset.base_url
    if not base_url:
        raise ConfigError(f"[{role}] model {name!r}: say where it is: {kind}/{model}@https://...")
    return {
        "backend": kind,
        "model": model or "default",
        "base_url": base_url,
        # A server at another address is somebody else's: it must not be sent the provider's key.
        "api_key_env": "" if url and preset.base_url.startswith("https:") else preset.api_key_env,
        "continuation": preset.continuation,
    }


def _split(rest: str) -> tuple[str, str]:
    """Model and address; an address without a path gets `/v1`."""
    for scheme in ("@http://", "@https://"):
        model, found, address = rest.rpartition(scheme)
        if found:
            url = scheme[1:] + address
            return model, url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/v1"
    return rest, ""
