"""Chat templates and control tokens in GGUF files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from tests.backends.gguf_files import packed_text, write_gguf, write_model
from trim.errors import ConfigError
from trim.gguf_head import GgufModel, read_gguf_files, read_gguf_model
from trim.prompts import load_template


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_gguf(
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
    path = write_gguf(
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
    huge = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + packed_text("tokenizer.x") + struct.pack("<IIQ", 9, 5, 2**60)
    deep = (
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + packed_text("k")
        + struct.pack("<I", 9)
        + struct.pack("<IQ", 9, 1) * 9999
    )
    for content in (b"", b"PK\x03\x04", whole[:30], whole[:-60], whole.replace(b"GGUF\x03", b"GGUF\x09"), huge, deep):
        path = tmp_path / "bad.gguf"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be read as a GGUF file"):
            load_template(str(path))
    with pytest.raises(ConfigError, match="template family"):
        load_template(str(tmp_path / "missing.gguf"))
    no_template = write_gguf(tmp_path / "none.gguf", general__name="x")
    with pytest.raises(ConfigError, match=r"has no chat template: set template to a family \(chatml, "):
        load_template(str(no_template))


def test_what_a_model_needs(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    assert read_gguf_model(path) == GgufModel("qwen2", 32768, 24 * 2 * 2 * 64 * 2, 3, 1)


@pytest.mark.parametrize(
    ("values", "token_bytes"),
    [
        ({"qwen2__attention__key_length": 128, "qwen2__attention__value_length": 96}, 24 * 2 * (128 + 96) * 2),
        ({"qwen2__attention__head_count_kv": [2, 0, 4]}, 6 * 128 * 2),  # by layer: one keeps nothing
        ({"qwen2__block_count": 2}, 2 * 2 * 128 * 2),
    ],
)
def test_memory_of_a_token(tmp_path: Path, values: dict[str, Any], token_bytes: int) -> None:
    assert read_gguf_model(write_model(tmp_path / "model.gguf", **values)).token_bytes == token_bytes


def test_a_file_without_a_model(tmp_path: Path) -> None:
    assert read_gguf_model(write_gguf(tmp_path / "lora.gguf", general__name="x")) == GgufModel("", None, 0, 0, 1)


def test_a_split_model_says_its_parts(tmp_path: Path) -> None:
    assert read_gguf_model(write_model(tmp_path / "model.gguf", split__count=3)).parts == 3


def test_lists_that_are_passed_over_may_be_cut_off(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", tokenizer__ggml__merges=["a b"] * 50)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="cannot be read as a GGUF file"):
        read_gguf_model(path)
