"""Counts tokens with a model's own tokenizer, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trim.backends.surrogates import whole_text
from trim.errors import ConfigError


class TokenCounter:
    """Counts tokens with a local `tokenizer.json` (a file or the folder that holds it)."""

    def __init__(self, path: str | Path) -> None:
        from tokenizers import Tokenizer

        file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise ConfigError(f"tokenizer {path!r}: no such file")
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises plain Exception
            raise ConfigError(f"tokenizer {path!r} cannot be read: {error}") from None

    def count(self, text: str) -> int:
        """Tokens of a text, special tokens in it included."""
        return len(self._tokenizer.encode(whole_text(text), add_special_tokens=False).ids)

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids as a server would make them (with those that the tokenizer adds), and the characters
        [start, end) that each stands for.
        """
        encoding = self._tokenizer.encode(text)
        return list(encoding.ids), list(encoding.offsets)
