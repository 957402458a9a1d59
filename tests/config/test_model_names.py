"""Models in one word: what each stands for, and what is refused."""

from __future__ import annotations

import pytest

from trim.config.model_names import PRESETS, is_model_name, settings_of
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
    ],
)
def test_name_of_a_served_model(name: str, backend: str, model: str, base_url: str) -> None:
    found = settings_of(name, "weak")
    assert (found["backend"], found["model"], found["base_url"]) == (backend, model, base_url)


@pytest.mark.parametrize(
    ("name", "model"),
    [("gguf/models/a b.gguf", "models/a b.gguf"), ("gguf//abs/x.gguf", "/abs/x.gguf"), ("embedded", "")],
)
def test_name_of_a_model_in_this_process(name: str, model: str) -> None:
    assert settings_of(name, "weak") == {"backend": name.partition("/")[0], "model": model}


def test_key_goes_to_its_own_provider_alone() -> None:
    assert settings_of("openai/gpt", "strong")["api_key_env"] == "OPENAI_API_KEY"
    assert settings_of("openai/gpt@http://127.0.0.1:9", "strong")["api_key_env"] == ""
    assert settings_of("azure/gpt@https://x.azure.com/v1", "strong")["api_key_env"] == "AZURE_OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("olama/x", "did you mean ollama/"),
        ("gpt-4", "kinds are"),
        ("vllm/", "say which model"),
        ("azure/gpt", "say where it is"),
        ("generic/x", "say where it is"),
        ("gguf/a.gguf@http://h", "no address"),
    ],
)
def test_what_is_refused(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings_of(name, "weak")


def test_every_kind_can_be_named() -> None:
    assert all(is_model_name(f"{kind}/x") for kind in PRESETS)
    assert not is_model_name("Qwen/Qwen2.5-7B")
