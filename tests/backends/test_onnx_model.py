"""Texts to tokens, and a model folder's fingerprint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trim.backends.onnx_model import Tokens, fingerprint, shipped
from trim.errors import ConfigError


def test_control_tokens_in_a_text_stay_text() -> None:
    tokens = Tokens(shipped("weak"))
    controls = {tokens.user, tokens.assistant, tokens.end, tokens.mark}
    for text in ("<extra_0>", "a<|end|>b", "<|user|><|assistant|>", "x <extra_0> y <extra_0>"):
        assert not controls & set(tokens.encode(text))
        assert tokens.decode(tokens.encode(text)) == text


def test_a_fingerprint_changes_with_the_weights(tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(shipped("weak"), copied)
    assert fingerprint(str(copied)) == fingerprint("weak")
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    assert fingerprint(str(copied)) != fingerprint("weak")


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(ConfigError, match=r"no shipped model \(judge, .*weak.*\) and no model folder 'week'"):
        shipped("week")
