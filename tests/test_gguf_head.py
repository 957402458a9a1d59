"""Chat templates and control tokens in GGUF files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from trim.errors import ConfigError
from trim.gguf_head import read_gguf_files
from trim.prompts import load_template


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _pair(key: str, value: Any) -> bytes:
    if isinstance(value, bool):
        packed = struct.pack("<I?", 7, value)
    elif isinstance(value, int):
        packed = struct.pack("<II", 4, value)
    elif isinstance(value, str):
        packed = struct.pack("<I", 8) + _text(value)
    elif isinstance(value[0], str):
        packed = struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
    else:
        packed = struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    return _text(key) + packed


def _file(path: Path, **values: Any) -> Path:
    pairs = [_pair(key.replace("__", "."), value) for key, value in values.items()]
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs) + b"weights")
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return _file(
        tmp_path / "model.gguf",
        general__name="model",
        tokenizer__chat_template="{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}:",
        tokenizer__chat_template__tool_use="no",
        tokenizer__ggml__tokens=["a", "<s>", "</s>", "<tool>", "<think>", "   ", "<0x0A>", "[PAD0]"],
        tokenizer__ggml__token_type=[1, 3, 3, 3, 4, 4, 6, 5],
        tokenizer__ggml__bos_token_id=1,
        tokenizer__ggml__eos_token_id=2,
        tokenizer__ggml__add_bos_token=True,
    )


def test_what_a_file_says(model: Path) -> None:
    files = read_gguf_files(model)
    assert set(files.templates) == {"default", "tool_use"}
    assert files.named == (("bos_token", "<s>"), ("eos_token", "</s>"))
    assert (files.special, files.added) == (("<s>", "</s>", "<tool>"), ("<think>",))
    assert (files.complete, files.first) == (True, "<s>")


def test_its_template(model: Path) -> None:
    text = "<think><tool>"
    assert load_template(str(model)).render(text, text) == "[user]< think>< tool>:<think>< tool>"


@pytest.mark.parametrize("add", [None, False])
def test_a_beginning_that_the_server_does_not_add_stays(tmp_path: Path, add: bool | None) -> None:
    values = {} if add is None else {"tokenizer__ggml__add_bos_token": add}
    path = _file(
        tmp_path / "model.gguf",
        tokenizer__chat_template="{{ bos_token }}{{ messages[0].content }}",
        tokenizer__ggml__tokens=["<s>"],
        tokenizer__ggml__token_type=[3],
        tokenizer__ggml__bos_token_id=0,
        **values,
    )
    assert load_template(str(path)).head("q") == ("q" if add is None else "<s>q")


def test_files_that_are_no_gguf_files(tmp_path: Path, model: Path) -> None:
    whole = model.read_bytes()
    huge = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + _text("tokenizer.x") + struct.pack("<IIQ", 9, 5, 2**60)
    deep = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + _text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9999
    for content in (b"", b"PK\x03\x04", whole[:30], whole[:-60], whole.replace(b"GGUF\x03", b"GGUF\x09"), huge, deep):
        path = tmp_path / "bad.gguf"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be read as a GGUF file"):
            load_template(str(path))
    with pytest.raises(ConfigError, match="template family"):
        load_template(str(tmp_path / "missing.gguf"))
    no_template = _file(tmp_path / "none.gguf", general__name="x")
    with pytest.raises(ConfigError, match="template family"):
        load_template(str(no_template))
