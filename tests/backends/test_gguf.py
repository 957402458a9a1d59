"""GGUF files in this process. The tests of a real model are in tests/real."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trim.backends.gguf import LlamaServer, default_threads
from trim.errors import ConfigError, MissingExtra


def test_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtra, match=r"trim-router\[local\]"):
        LlamaServer(tmp_path / "model.gguf")


@pytest.mark.parametrize(("content", "words"), [(None, "no such file"), (b"PK\3\4 a zip", "is not a GGUF file")])
def test_refuses_what_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", object())
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        LlamaServer(path)


def test_models_share_the_processors() -> None:
    assert default_threads(1) >= default_threads(2) >= 1
