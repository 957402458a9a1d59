"""The declared capabilities of kinds of servers are consistent."""

from __future__ import annotations

import pytest

from trim.backends.capabilities import BACKENDS, Capabilities, capabilities, gives_logprobs
from trim.errors import ConfigError


@pytest.mark.parametrize("kind", BACKENDS)
def test_every_kind_can_continue_a_text_somehow(kind: str) -> None:
    able = capabilities(kind)
    asked_in_words = {"openai", "azure", "gemini", "groq", "xai"}  # `instruct`
    assert able.completions or able.chat != "none" or kind in asked_in_words
    assert not able.running_usage or able.usage
    assert not able.repeats_prefix or able.chat in ("trailing", "prefix")


def test_an_unknown_server_gets_nothing_but_the_basics() -> None:
    assert capabilities("generic") == Capabilities()
    with pytest.raises(ConfigError, match="'vlm' is not known; choose one of vllm, sglang"):
        capabilities("vlm")


@pytest.mark.parametrize(
    ("kind", "told"), [("vllm", True), ("llama-server", True), ("gguf", True), ("generic", False), ("mine", False)]
)
def test_who_gives_log_probabilities(kind: str, told: bool) -> None:
    assert gives_logprobs(kind) is told
