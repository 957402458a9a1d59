"""A local tokenizer counts, and one that cannot be read is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from trim.backends.token_counter import TokenCounter
from trim.errors import ConfigError


def test_a_counter_needs_a_tokenizer_that_can_be_read(counter: TokenCounter, tmp_path: Path) -> None:
    assert counter.count("one two") == 2
    assert counter.encode("one two")[1] == [(0, 3), (3, 7)]
    with pytest.raises(ConfigError, match="no such file"):
        TokenCounter(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        TokenCounter(tmp_path)
