"""What a model folder's tokenizer files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trim.errors import ConfigError
from trim.model_files import read_model_files


def _write(folder: Path, **files: object) -> None:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_tokens_of_all_files(tmp_path: Path) -> None:
    _write(
        tmp_path,
        tokenizer_config={
            "bos_token": {"content": "<s>"},
            "eos_token": None,
            "added_tokens_decoder": {
                "1": {"content": "<a>", "special": True},
                "2": {"content": "<b1>", "special": False},
            },
            "additional_special_tokens": ["<c>", {"content": "<d>"}],
            "extra_special_tokens": {"image_token": "<e>"},
        },
        tokenizer={
            "added_tokens": [
                {"content": "<f>", "special": True},
                {"content": "<think>", "special": False},
                {"content": "   ", "special": False},
                {"content": "<table>", "special": False},
                {"content": "word", "special": False},
            ]
        },
        special_tokens_map={"eos_token": "</s>", "additional_special_tokens": ["<g>"]},
        added_tokens={"<h>": 7},
        tekken={"special_tokens": [{"token_str": "[INST]"}]},
    )
    files = read_model_files(tmp_path)
    assert files.named == (("bos_token", "<s>"), ("eos_token", "</s>"))
    assert set(files.special) == {"<a>", "<c>", "<d>", "<e>", "<f>", "<g>", "[INST]"}
    assert set(files.added) == {"<b1>", "<think>", "<h>"}
    assert files.complete


def test_an_empty_folder(tmp_path: Path) -> None:
    files = read_model_files(tmp_path)
    assert (files.templates, files.named, files.special, files.added, files.complete) == ({}, (), (), (), False)
    assert files.first is None


BOS = {"SpecialToken": {"id": "<s>", "type_id": 0}}
SEQUENCE = {"Sequence": {"id": "A", "type_id": 0}}


@pytest.mark.parametrize(
    ("config", "processor", "first"),
    [
        ({}, {"type": "TemplateProcessing", "single": [BOS, SEQUENCE]}, "<s>"),
        ({}, {"type": "TemplateProcessing", "single": [SEQUENCE, BOS]}, ""),
        (
            {},
            {
                "type": "Sequence",
                "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing", "single": [BOS, SEQUENCE]}],
            },
            "<s>",
        ),
        ({}, {"type": "ByteLevel"}, ""),
        ({}, {"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 1]}, "<s>"),
        ({}, {"type": "NewKind"}, None),
        ({}, None, ""),
        ({"add_bos_token": True, "bos_token": "<s>"}, None, ""),
        (
            {"add_bos_token": False, "bos_token": "<s>"},
            {"type": "TemplateProcessing", "single": [BOS, SEQUENCE]},
            "<s>",
        ),
    ],
)
def test_what_the_tokenizer_puts_first(tmp_path: Path, config: Any, processor: Any, first: str | None) -> None:
    _write(tmp_path, tokenizer_config=config, tokenizer={"post_processor": processor})
    assert read_model_files(tmp_path).first == first


@pytest.mark.parametrize(("adds", "first"), [(True, "<s>"), (False, ""), (None, None)])
def test_what_a_tokenizer_without_a_file_puts_first(tmp_path: Path, adds: bool | None, first: str | None) -> None:
    _write(tmp_path, tokenizer_config={"bos_token": "<s>", "add_bos_token": adds})
    assert read_model_files(tmp_path).first == first


def test_templates(tmp_path: Path) -> None:
    named = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]
    _write(tmp_path, tokenizer_config={"chat_template": named})
    assert read_model_files(tmp_path).templates == {"default": "a", "tool_use": "b"}
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text("c")
    (tmp_path / "chat_template.jinja").write_bytes(b"\xef\xbb\xbfd")
    assert read_model_files(tmp_path).templates == {"default": "d", "tool_use": "b", "rag": "c"}


def test_the_template_of_a_processor(tmp_path: Path) -> None:
    _write(tmp_path, chat_template={"chat_template": "a"}, tokenizer_config={})
    assert read_model_files(tmp_path).templates == {"default": "a"}


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}"])
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"tokenizer\.json cannot be read"):
        read_model_files(tmp_path)
