"""Fixtures that several tests of clients share."""

from __future__ import annotations

from pathlib import Path

import pytest

from trim.backends.token_counter import TokenCounter


@pytest.fixture(scope="session")
def counter(tmp_path_factory: pytest.TempPathFactory) -> TokenCounter:
    """A tokenizer that counts nearly as the fake server does."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n\n|\s?\w+|[^\w\s]|\s"), "isolated")
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return TokenCounter(path)
