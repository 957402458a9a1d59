"""A model folder's tokenizer files: chat templates, control tokens, and what is put before a text.

Read are `tokenizer_config.json`, `tokenizer.json`, `chat_template.jinja`, `chat_template.json`, the folder
`additional_chat_templates`, `special_tokens_map.json`, `added_tokens.json` and Mistral's `tekken.json`, those that are
there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trim.control_tokens import is_control
from trim.errors import ConfigError

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_TOKENIZERS = ("tokenizer.json", "tekken.json", "added_tokens.json")


@dataclass(frozen=True)
class ModelFiles:
    """A model folder's tokenizer files.

    Args:
        templates: chat templates by name; a model's only one is "default".
        named: (name, text) of `bos_token` and the like.
        special: further tokens that no text may turn into, and that servers leave out of the text that they return.
        added: further tokens with a meaning of their own, such as `<think>`; servers return them as text.
        complete: all tokens of the tokenizer are known.
        first: what the tokenizer puts before every text; None: not known.
    """

    templates: dict[str, str]
    named: tuple[tuple[str, str], ...]
    special: tuple[str, ...]
    added: tuple[str, ...]
    complete: bool
    first: str | None


def read_model_files(folder: Path) -> ModelFiles:
    """Read what is there.

    Raises:
        ConfigError: a file is not valid.
    """
    config, tokenizer = _object(folder / "tokenizer_config.json"), _object(folder / "tokenizer.json")
    named = {name: _content(config.get(name)) for name in _NAMED}
    named |= {
        name: _content(token)
        for name, token in _object(folder / "special_tokens_map.json").items()
        if name in _NAMED and not named[name]
    }
    found = tuple((name, text) for name, text in named.items() if text)
    special, added = _tokens(folder, config, tokenizer)
    try:
        first = _first(config, tokenizer, dict(found))
    except (AttributeError, KeyError, TypeError, ValueError):  # a kind of tokenizer that is not known here
        first = None
    return ModelFiles(
        _templates(folder, config),
        found,
        tuple(dict.fromkeys(special)),
        tuple(token for token in dict.fromkeys(added) if token not in {*special, *named.values()}),
        "added_tokens_decoder" in config or any((folder / name).is_file() for name in _TOKENIZERS),
        first,
    )


def _templates(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """Chat templates by name: files of their own come before those in the configuration."""
    source = config.get("chat_template") or _object(folder / "chat_template.json").get("chat_template")
    if isinstance(source, list):
        source = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
    if isinstance(source, str):
        source = {"default": source}
    templates = {str(name): text for name, text in (source or {}).items() if isinstance(text, str)}
    for file in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[file.stem] = read_text(file)
    if (folder / "chat_template.jinja").is_file():
        templates["default"] = read_text(folder / "chat_template.jinja")
    return templates


def _tokens(folder: Path, config: dict[str, Any], tokenizer: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Special tokens, and other added ones that are control tokens."""
    entries = [*_values(config.get("added_tokens_decoder")), *_values(tokenizer.get("added_tokens"))]
    special = [_content(entry) for entry in entries if isinstance(entry, dict) and entry.get("special")]
    for source in (config, _object(folder / "special_tokens_map.json")):
        for name in ("additional_special_tokens", "extra_special_tokens"):
            special += map(_content, _values(source.get(name)))
    for token in _values(_object(folder / "tekken.json").get("special_tokens")):
        special.append(str(token.get("token_str", "")) if isinstance(token, dict) else "")
    added = [_content(entry) for entry in entries] + list(_object(folder / "added_tokens.json"))
    return [token for token in special if token.strip()], [token for token in added if token and is_control(token)]


def _first(config: dict[str, Any], tokenizer: dict[str, Any], named: dict[str, str]) -> str | None:
    """The text of the tokens that the tokenizer puts before every text. `tokenizer.json` decides, if there is one."""
    if "post_processor" in tokenizer:
        return "".join(_before(tokenizer["post_processor"]))
    if isinstance(config.get("add_bos_token"), bool):
        return named.get("bos_token", "") if config["add_bos_token"] else ""
    return None


def _before(processor: dict[str, Any] | None) -> Iterator[str]:
    if processor is None or processor["type"] == "ByteLevel":
        return
    if processor["type"] == "Sequence":
        for part in processor["processors"]:
            yield from _before(part)
    elif processor["type"] == "TemplateProcessing":
        for piece in processor["single"]:
            if "SpecialToken" not in piece:
                return
            yield str(piece["SpecialToken"]["id"])
    elif processor["type"] in ("BertProcessing", "RobertaProcessing"):
        yield str(processor["cls"][0])
    else:
        raise ValueError(processor["type"])


def _content(token: object) -> str:
    """A token's text; files hold it as a string or as {"content": text, ...}."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _values(found: object) -> list[Any]:
    if isinstance(found, dict):
        return list(found.values())
    return found if isinstance(found, list) else []


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no such file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return content if isinstance(content, dict) else {}
