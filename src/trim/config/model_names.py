"""A model in one word: `KIND/MODEL[@URL]`, such as `ollama/qwen2.5:1.5b` or `vllm/Qwen/Qwen2.5-7B@http://gpu:8001`.

The kind says how the server is spoken to, where it usually listens and which variable holds its key. `PRESETS` is the
one table of kinds: configuration, command line and documentation are made from it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from trim.errors import ConfigError
from trim.plugins import BACKENDS, is_reference


@dataclass(frozen=True, slots=True)
class Preset:
    """What a kind of server needs no configuration for.

    Args:
        title: what people call it.
        base_url: where it listens unless a name says otherwise; empty: a name must say so, or it has no address.
        api_key_env: variable with its key; empty: it needs none.
        continuation: how a partial answer is continued, see `trim.backends.openai`.
        needs_model: whether a name must say which model; a llama-server has one.
        example: what follows `KIND/` in an example.
        in_process: it runs in this process and has no address.
        base_url_env: variable with the address where a name has none.
    """

    title: str
    base_url: str = ""
    api_key_env: str = ""
    continuation: Literal["completions", "chat", "instruct"] = "completions"
    needs_model: bool = True
    example: str = "MODEL"
    in_process: bool = False
    base_url_env: str = ""


_MINI = "gpt-4.1-mini"

PRESETS: dict[str, Preset] = {
    "embedded": Preset("the shipped models, in this process", needs_model=False, example="", in_process=True),
    "gguf": Preset("a GGUF file, in this process", example="models/qwen2.5-1.5b.gguf", in_process=True),
    "llama-server": Preset(
        "llama.cpp's server", "http://127.0.0.1:8080/v1", needs_model=False, example="@http://127.0.0.1:8081"
    ),
    "ollama": Preset(
        "Ollama",
        "http://127.0.0.1:11434/v1",
        continuation="chat",
        example="qwen2.5:1.5b",
        base_url_env="OLLAMA_HOST",
    ),
    "lm-studio": Preset("LM Studio", "http://127.0.0.1:1234/v1", example="qwen2.5-7b-instruct"),
    "vllm": Preset("vLLM", "http://127.0.0.1:8000/v1", example="Qwen/Qwen2.5-7B-Instruct@http://gpu:8001"),
    "sglang": Preset("SGLang", "http://127.0.0.1:30000/v1", example="Qwen/Qwen2.5-7B-Instruct"),
    "llama-cpp-python": Preset("llama-cpp-python's server", "http://127.0.0.1:8000/v1"),
    "transformers": Preset("transformers serve", "http://127.0.0.1:8000/v1", example="Qwen/Qwen2.5-7B-Instruct"),
    "openai": Preset("OpenAI", "https://api.openai.com/v1", "OPENAI_API_KEY", "instruct", example=_MINI),
    "azure": Preset(
        "Azure OpenAI",
        "",
        "AZURE_OPENAI_API_KEY",
        "instruct",
        example="DEPLOYMENT@https://NAME.openai.azure.com",
        base_url_env="AZURE_OPENAI_ENDPOINT",
    ),
    "anthropic": Preset("Anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "instruct"),
    "gemini": Preset("Gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", "instruct"),
    "openrouter": Preset(
        "OpenRouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "chat", example="qwen/qwen-2.5-7b-instruct"
    ),
    "mistral": Preset(
        "Mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", "chat", example="mistral-small-latest"
    ),
    "deepseek": Preset(
        "DeepSeek", "https://api.deepseek.com/beta", "DEEPSEEK_API_KEY", "chat", example="deepseek-chat"
    ),
    "groq": Preset("Groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", "instruct"),
    "together": Preset("Together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", "instruct"),
    "xai": Preset("xAI", "https://api.x.ai/v1", "XAI_API_KEY", "instruct"),
    "generic": Preset("any other server with OpenAI's API", example="MODEL@http://HOST:PORT"),
}
"""All kinds of servers, and those of models in this process."""

IN_PROCESS = frozenset(kind for kind, preset in PRESETS.items() if preset.in_process)


@dataclass(frozen=True, slots=True)
class ModelName:
    """A name in its parts; `base_url` is empty where the name has no address."""

    kind: str
    model: str
    base_url: str


def is_model_name(text: str) -> bool:
    """Whether a text begins with a kind of server."""
    return text == "embedded" or (text.partition("/")[0] in PRESETS and "/" in text)


def parse(name: str) -> ModelName:
    """The parts of `KIND/MODEL[@URL]`.

    Raises:
        ConfigError: there is no such kind, or the model is missing or the address wrong.
    """
    kind, _, rest = name.partition("/")
    preset = PRESETS.get(kind)
    if preset is None or not is_model_name(name):
        raise ConfigError(f"{name!r} is no model's name: {_hint(name)}")
    model, url = _split(rest)
    if url and preset.in_process:
        raise ConfigError(f"{name!r}: it runs in this process and has no address")
    if preset.needs_model and not model:
        raise ConfigError(f"{name!r}: say which model: {kind}/{preset.example}")
    if lost := re.search(r"@([a-z+]+://.*|(?:localhost|[\w.-]*:\d+)(?:/.*)?)$", model):
        address = lost[1].rpartition("://")[2]
        raise ConfigError(f"{name!r}: an address begins with http:// or https://: {kind}/...@http://{address}")
    return ModelName(kind, model, url)


def located(name: str, environment: Mapping[str, str]) -> str:
    """A model's name with the address that the environment has for its kind, if the name has none and needs one.

    Raises:
        ConfigError: what the environment has is no address.
    """
    address = address_in(name.partition("/")[0], environment)
    return f"{name}@{address}" if address and "/" in name and not _split(name)[1] else name


def address_in(kind: str, environment: Mapping[str, str]) -> str:
    """The address that the environment has for a kind of server; empty: none.

    Raises:
        ConfigError: it is no address.
    """
    preset = PRESETS.get(kind)
    address = environment.get(preset.base_url_env, "").strip() if preset and preset.base_url_env else ""
    return _ollama_address(address) if address and kind == "ollama" else address.rstrip("/")


def _ollama_address(text: str) -> str:
    """What `OLLAMA_HOST` stands for, as Ollama's own clients read it: a host, a port or both, with or without a scheme;
    all addresses of a machine, where its server listens, are this machine.

        >>> _ollama_address("0.0.0.0"), _ollama_address("gpu:8000"), _ollama_address("https://ollama.example.org")
        ('http://127.0.0.1:11434', 'http://gpu:8000', 'https://ollama.example.org:443')

    Raises:
        ConfigError: it is none of these.
    """
    text = text.strip("\"'")
    scheme, found, rest = text.rpartition("://")
    scheme = scheme.lower() if found else "http"
    usual = {"http": 80 if found else 11434, "https": 443}
    place, slash, path = rest.partition("/")
    if place.count(":") > 1 and not place.startswith("["):  # an IPv6 address by itself
        place = f"[{place}]"
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname or "127.0.0.1", parts.port or usual[scheme]
    except (ValueError, KeyError):
        raise ConfigError(f"OLLAMA_HOST is {text!r}: write HOST, HOST:PORT or http://HOST:PORT") from None
    with suppress(ValueError):  # a name
        if (number := ip_address(host)).is_unspecified:
            host = "127.0.0.1" if number.version == 4 else "::1"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{slash}{path}".rstrip("/")


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
    try:
        return settings_at(parse(name), "")
    except ConfigError as error:
        raise ConfigError(f"[{role}] model {error}") from None


def generator_table(text: str, role: str) -> dict[str, str]:
    """The table of a generator that `--weak TEXT` stands for: a model's name, or a class of the user's own.

    Raises:
        ConfigError: it is neither.
    """
    is_own = text in BACKENDS.names() or (is_reference(text) and text.partition(":")[0] not in PRESETS)
    return {"backend": text} if is_own else settings_of(text, role)


def completed(table: Mapping[str, object]) -> dict[str, object]:
    """A table of a generator with what its model's name, or else its kind, stands for; what it says itself stays.

    Raises:
        ConfigError: the name cannot be right; an address may be missing here, it is asked for where all is checked.
    """
    kind, model, url = table.get("backend"), table.get("model"), table.get("base_url")
    own = {key: value for key, value in table.items() if value != "" or key not in ("model", "base_url")}
    if not isinstance(model, str):
        return dict(table)
    if kind is None and is_model_name(model):
        del own["model"]
        return {**settings_at(parse(model), str(url or "")), **own}
    if kind is None and (near := nearly_named(model)):
        raise ConfigError(f"{model!r}: did you mean {near}?")
    preset = PRESETS.get(kind) if isinstance(kind, str) else None
    if preset is None or preset.in_process or (preset.needs_model and not model):
        return dict(table)
    return {**_defaults(preset, str(url or "")), **own}


def settings_at(name: ModelName, base_url: str) -> dict[str, str]:
    """The keys; `base_url` is in place of the name's and the preset's."""
    preset = PRESETS[name.kind]
    if preset.in_process:
        return {"backend": name.kind, "model": name.model}
    url = base_url or name.base_url
    if not url and not preset.base_url:
        known = f", or set {preset.base_url_env}" if preset.base_url_env else ""
        where = f"{name.kind}/{name.model}@https://...{known}"
        raise ConfigError(f"'{name.kind}/{name.model}': say where it is: {where}")
    return {"backend": name.kind, "model": name.model or "default", **_defaults(preset, url)}


def _defaults(preset: Preset, url: str) -> dict[str, str]:
    """What a kind of server needs no configuration for, at this address or, where it is empty, at its usual one."""
    # A server at another address is somebody else's: it must not be sent the provider's key.
    foreign = url and preset.base_url.startswith("https:") and _host(url) != _host(preset.base_url)
    found = {"api_key_env": "" if foreign else preset.api_key_env, "continuation": preset.continuation}
    return found | ({"base_url": address} if (address := url or preset.base_url) else {})


def nearly_named(text: str) -> str:
    """A model's name whose kind is nearly this text's; empty: there is none."""
    kind, slash, rest = text.partition("/")
    close = difflib.get_close_matches(kind.lower(), PRESETS, 1, 0.75) if slash and kind else []
    return f"{close[0]}/{rest}" if close else ""


def _hint(text: str) -> str:
    """What to write instead of a text that is no model's name."""
    if text.startswith(("http://", "https://")):
        return f"write KIND/MODEL@{text}, such as vllm/MODEL@{text}"
    if near := nearly_named(text):
        return f"did you mean {near}?"
    if text.endswith(".gguf"):
        return f"write gguf/{text}"
    kind, colon, model = text.partition(":")
    if colon and kind in PRESETS:
        return f"did you mean {kind}/{model}?"
    if text in PRESETS:
        return f"say which model: {text}/{PRESETS[text].example}"
    return f"write KIND/MODEL, such as ollama/qwen2.5:1.5b; kinds are {', '.join(PRESETS)}"


def _split(rest: str) -> tuple[str, str]:
    """Model and address; an address without a path gets `/v1`, on Azure `/openai/v1`."""
    for scheme in ("@http://", "@https://"):
        model, found, address = rest.rpartition(scheme)
        if found:
            url = scheme[1:] + address
            usual = "/openai/v1" if _host(url).endswith(".azure.com") else "/v1"
            return model, url if address.partition("/")[2] else url.rstrip("/") + usual
    return rest, ""


def _host(url: str) -> str:
    """The host of an address; empty: it has none, or is no address."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # an unfinished IPv6 address, which is said where it is opened
        return ""
