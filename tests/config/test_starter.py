"""The file that `trim init` writes says what was chosen, whatever models are called."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.backends.discovery import FoundModel
from trim.config.loading import load_config
from trim.config.starter import Choice, by_size, document, keys_in, suggested

URL = "http://127.0.0.1:8000"


def model(name: str, parameters: float | None = None, size: int | None = None, *, scores: bool = False) -> FoundModel:
    return FoundModel("vllm", name, URL, parameters, size, scores=scores)


def test_the_smallest_is_weak_and_the_largest_strong() -> None:
    models = [model("b", 7e9), model("unknown"), model("a", size=600_000_000), model("c", 9e9), model("p", scores=True)]
    assert [one.full_name[5:6] for one in by_size(models)] == ["a", "b", "c", "u"]
    chosen = suggested([one for one in models if one.name != "unknown"])
    assert chosen == Choice(f"vllm/a@{URL}", f"vllm/c@{URL}", f"vllm/p@{URL}")
    assert suggested(models, weak="ollama/x", judge="strong") == Choice("ollama/x", f"vllm/unknown@{URL}", "strong")
    assert suggested([], weak="ollama/x", strong="openai/y") == Choice("ollama/x", "openai/y")


@pytest.mark.parametrize("judge", [None, "strong", "weak", "vllm/my-prm@http://gpu:8003"])
@pytest.mark.parametrize("port", [None, 8090])
def test_the_file_can_be_loaded(judge: str | None, port: int | None, tmp_path: Path) -> None:
    path = tmp_path / "trim.toml"
    path.write_text(document(Choice("ollama/qwen2.5:0.5b", "vllm/big@http://gpu:8000", judge), port=port))
    config = load_config(path)
    assert (config.weak.model, config.strong.base_url) == ("qwen2.5:0.5b", "http://gpu:8000/v1")
    assert config.serve.port == (port or 8080)
    assert all(len(line) <= 120 for line in path.read_text().splitlines())


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_name_is_written_as_it_is(name: str) -> None:
    assert tomllib.loads(document(Choice(f"ollama/{name}", "openai/x")))["weak"]["model"] == f"ollama/{name}"


def test_keys_are_those_that_are_set() -> None:
    assert keys_in({"OPENAI_API_KEY": "x", "MISTRAL_API_KEY": " ", "OTHER": "y"}) == {"openai": "OPENAI_API_KEY"}
