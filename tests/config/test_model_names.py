"""Models in one word: what each stands for, and what is refused."""

from __future__ import annotations

import pytest

from trim.backends.capabilities import BACKENDS
from trim.config.model_names import IN_PROCESS, PRESETS, completed, is_model_name, located, settings_of
from trim.config.settings import ModelSettings
from trim.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "backend", "model", "base_url"),
    [
        ("ollama/qwen2.5:1.5b", "ollama", "qwen2.5:1.5b", "http://127.0.0.1:11434/v1"),
        ("vllm/Qwen/Qwen2.5-7B-Instruct@http://gpu:8001", "vllm", "Qwen/Qwen2.5-7B-Instruct", "http://gpu:8001/v1"),
        ("vllm/a@b@http://gpu:8001/api/v1", "vllm", "a@b", "http://gpu:8001/api/v1"),
        ("llama-server/@http://127.0.0.1:8080", "llama-server", "default", "http://127.0.0.1:8080/v1"),
        ("llama-server/", "llama-server", "default", "http://127.0.0.1:8080/v1"),
        ("openai/gpt-4.1-mini", "openai", "gpt-4.1-mini", "https://api.openai.com/v1"),
        ("openrouter/qwen/qwen-2.5-7b:free", "openrouter", "qwen/qwen-2.5-7b:free", "https://openrouter.ai/api/v1"),
        ("azure/gpt@https://x.openai.azure.com/openai/v1", "azure", "gpt", "https://x.openai.azure.com/openai/v1"),
        ("azure/gpt@https://x.openai.azure.com/", "azure", "gpt", "https://x.openai.azure.com/openai/v1"),
        ("vllm/m@http://[::1]:8001", "vllm", "m", "http://[::1]:8001/v1"),
    ],
)
def test_name_of_a_served_model(name: str, backend: str, model: str, base_url: str) -> None:
    found = settings_of(name, "weak")
    assert (found["backend"], found["model"], found["base_url"]) == (backend, model, base_url)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gguf/models/a b.gguf", "models/a b.gguf"),
        ("gguf//abs/x.gguf", "/abs/x.gguf"),
        ("gguf/hf:OWNER/REPO:Q4_K_M", "hf:OWNER/REPO:Q4_K_M"),
        ("embedded", ""),
    ],
)
def test_name_of_a_model_in_this_process(name: str, model: str) -> None:
    assert settings_of(name, "weak") == {"backend": name.partition("/")[0], "model": model}


def test_key_goes_to_its_own_provider_alone() -> None:
    assert settings_of("openai/gpt", "strong")["api_key_env"] == "OPENAI_API_KEY"
    assert settings_of("openai/gpt@http://127.0.0.1:9", "strong")["api_key_env"] == ""
    assert settings_of("openai/gpt@https://api.openai.com/v1", "strong")["api_key_env"] == "OPENAI_API_KEY"
    assert settings_of("azure/gpt@https://x.azure.com/v1", "strong")["api_key_env"] == "AZURE_OPENAI_API_KEY"
    assert completed({"backend": "openai", "model": "m"})["api_key_env"] == "OPENAI_API_KEY"
    assert completed({"backend": "openai", "model": "m", "base_url": "http://proxy/v1"})["api_key_env"] == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("olama/x", r"\[weak\] model 'olama/x' is no model's name: did you mean ollama/x\?"),
        ("Ollama/x", "did you mean ollama/x"),
        ("ollama:x", "did you mean ollama/x"),
        ("ollama", "say which model: ollama/qwen"),
        ("gpt-4", "write KIND/MODEL, such as .*; kinds are embedded, gguf"),
        ("Qwen/Qwen2.5-7B", "kinds are"),
        ("", "kinds are"),
        ("models/a.gguf", "write gguf/models/a.gguf"),
        ("http://127.0.0.1:8080/v1", "such as vllm/MODEL@http://127.0.0.1:8080/v1"),
        ("vllm/", "say which model: vllm/Qwen"),
        ("vllm/@http://h", "say which model"),
        ("vllm/m@gpu:8001", "an address begins with http:// or https://: vllm/...@http://gpu:8001"),
        ("llama-server/@:8081", "begins with http://"),
        ("vllm/m@localhost/v1", "begins with http://"),
        ("vllm/m@ftp://gpu", "begins with http://"),
        ("azure/gpt", "say where it is: azure/gpt@https://"),
        ("generic/x", "say where it is"),
        ("gguf/", "say which model: gguf/"),
        ("gguf/a.gguf@http://h", "no address"),
    ],
)
def test_what_is_refused(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings_of(name, "weak")


def test_every_kind_can_be_named_and_configured() -> None:
    assert all(is_model_name(f"{kind}/x") for kind in PRESETS)
    for kind, preset in PRESETS.items():
        settings = ModelSettings(model=f"{kind}/{preset.example}" if preset.example else kind)
        assert settings.backend == kind
        assert preset.in_process or settings.base_url.startswith("http")
        assert ModelSettings(kind, "m", settings.base_url).backend == kind
    assert set(PRESETS) - IN_PROCESS <= set(BACKENDS)


TABLES: list[tuple[dict[str, object], dict[str, object]]] = [
    (
        {"model": "ollama/x", "base_url": "http://box/v1"},
        {"backend": "ollama", "model": "x", "base_url": "http://box/v1"},
    ),
    ({"model": "azure/x", "base_url": "https://a/openai/v1"}, {"api_key_env": "AZURE_OPENAI_API_KEY"}),
    (
        {"model": "openai/x", "continuation": "chat", "api_key_env": "MINE"},
        {"continuation": "chat", "api_key_env": "MINE"},
    ),
    ({"backend": "vllm", "model": "openai/gpt-oss-20b"}, {"backend": "vllm", "model": "openai/gpt-oss-20b"}),
    ({"backend": "openrouter", "model": "openrouter/auto"}, {"model": "openrouter/auto", "continuation": "chat"}),
    ({"backend": "ollama", "model": "x"}, {"base_url": "http://127.0.0.1:11434/v1"}),
    ({"backend": "vllm", "base_url": ""}, {"backend": "vllm", "base_url": ""}),
    ({"backend": "embedded", "model": "ollama/x"}, {"backend": "embedded", "model": "ollama/x"}),
    ({"model": "some/folder"}, {"model": "some/folder"}),
    ({"model": 3}, {"model": 3}),
    ({}, {}),
]


@pytest.mark.parametrize(("table", "expected"), TABLES)
def test_what_a_table_says_itself_stays(table: dict[str, object], expected: dict[str, object]) -> None:
    found = completed(table)
    assert found | expected == found
    assert completed(found) == found


def test_names_are_expanded_in_python_too() -> None:
    assert ModelSettings(model="ollama/x").base_url == "http://127.0.0.1:11434/v1"
    with pytest.raises(ConfigError, match=r"model: 'olama/x': did you mean ollama/x\?"):
        ModelSettings(model="olama/x")
    assert not is_model_name("Qwen/Qwen2.5-7B")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434/v1"),
        ("gpu", "http://gpu:11434/v1"),
        ("gpu:8000", "http://gpu:8000/v1"),
        (":8000", "http://127.0.0.1:8000/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000/v1"),
        ("http://gpu", "http://gpu:80/v1"),
        ("https://ollama.example.org", "https://ollama.example.org:443/v1"),
        ("HTTP://gpu:8000/", "http://gpu:8000/v1"),
        ("https://example.org/ollama/v1", "https://example.org:443/ollama/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("::1", "http://[::1]:11434/v1"),
        ("[::]", "http://[::1]:11434/v1"),
        ('"gpu:8000" ', "http://gpu:8000/v1"),
    ],
)
def test_ollama_is_where_its_own_clients_look(host: str, url: str) -> None:
    name = located("ollama/qwen2.5:1.5b", {"OLLAMA_HOST": host})
    found = settings_of(name, "weak")
    assert (found["model"], found["base_url"]) == ("qwen2.5:1.5b", url)
    assert located("ollama/x@http://other:1", {"OLLAMA_HOST": host}) == "ollama/x@http://other:1"


@pytest.mark.parametrize("host", ["gpu:port", "ftp://gpu", "[::1", "gpu:99999"])
def test_a_host_of_ollama_that_is_none(host: str) -> None:
    with pytest.raises(ConfigError, match=r"OLLAMA_HOST is .*: write HOST, HOST:PORT or http://HOST:PORT"):
        located("ollama/x", {"OLLAMA_HOST": host})
