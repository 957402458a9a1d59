"""Judges by name: what `--judge` and `[prm] model` stand for."""

from __future__ import annotations

from typing import Any

import pytest

from trim.config.judge_names import completed_judge, judge_table
from trim.config.settings import PrmSettings
from trim.errors import ConfigError
from trim.scoring.registry import JUDGES


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("strong", {"model": "strong"}),
        ("weak", {"model": "weak"}),
        ("auto", {"backend": "auto"}),
        ("my_judges.py:Mine", {"backend": "my_judges.py:Mine"}),
        ("vllm/my-prm@http://gpu:8003", {"model": "vllm/my-prm@http://gpu:8003"}),
        *((name, {"backend": name}) for name in JUDGES),
    ],
)
def test_what_a_judge_may_be_called(text: str, table: dict[str, str]) -> None:
    assert judge_table(text) == table


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stronk", "judge 'stronk' is not known: did you mean 'strong'"),
        ("liklihood", "did you mean 'likelihood'"),
        ("olama/x", "did you mean 'ollama/x'"),
        ("ollama:x", "did you mean ollama/x"),
        ("gpt", "there are weak, strong, .*or a model's name, KIND/MODEL@URL"),
        ("azure/x", "say where it is"),
    ],
)
def test_what_is_no_judge(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        judge_table(text)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("vllm/Qwen/Qwen2.5-Math-PRM-7B@http://gpu:8003", ("vllm", "Qwen/Qwen2.5-Math-PRM-7B", "http://gpu:8003")),
        ("vllm/my-reward-model", ("vllm", "my-reward-model", "http://127.0.0.1:8000")),
        ("vllm/Qwen/Qwen2.5-7B-Instruct", ("yes-no", "Qwen/Qwen2.5-7B-Instruct", "http://127.0.0.1:8000/v1")),
        ("ollama/qwen2.5:7b", ("yes-no", "qwen2.5:7b", "http://127.0.0.1:11434/v1")),
        ("embedded", ("embedded", "", "")),
        ("embedded/prm-small", ("embedded", "prm-small", "")),
        ("prm-small", ("auto", "prm-small", "")),
        ("strong", ("auto", "strong", "")),
    ],
)
def test_a_model_as_a_judge(model: str, expected: tuple[str, str, str]) -> None:
    found = PrmSettings(model=model)
    assert (found.backend, found.model, found.base_url) == expected


def test_what_a_table_says_itself_stays() -> None:
    assert PrmSettings(model="openai/gpt").api_key_env == "OPENAI_API_KEY"
    graded = PrmSettings("grade", "openai/gpt", timeout=3.0)
    assert (graded.backend, graded.model, graded.timeout) == ("grade", "gpt", 3.0)
    assert PrmSettings("vllm", "vllm/judge@http://gpu:1").backend == "vllm"  # a PRM, whatever it is called
    server = PrmSettings("ollama", "qwen")  # a kind of server
    assert (server.backend, server.model, server.base_url) == ("yes-no", "qwen", "http://127.0.0.1:11434/v1")
    at = {"backend": "yes-no", "model": "openai/gpt-oss-20b", "base_url": "http://gpu:1/v1"}
    assert completed_judge(at) == at  # a model of that name on the server


def test_a_gguf_file_is_asked() -> None:
    file = PrmSettings(model="gguf/models/x.gguf")
    assert (file.backend, file.model, file.base_url) == ("yes-no", "models/x.gguf", "")
    assert PrmSettings("grade", "gguf/hf:owner/repo:Q4_K_M").model == "hf:owner/repo:Q4_K_M"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "olama/x"}, "did you mean 'ollama/x'"),
        (
            {"model": "gguf/x.gguf", "backend": "likelihood"},
            r"a GGUF file can be asked \(yes-no, grade, typed\), not judge as 'likelihood'",
        ),
    ],
)
def test_what_cannot_be_a_judge(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PrmSettings(**settings)
