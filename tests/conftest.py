"""Fixtures that several tests of clients share, and what keeps a run from spending its time on the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trim.backends.token_counter import TokenCounter

# Before anything is imported. One thread each: the tests of several processes share the cores. One certificate: to read
# a machine's hundred takes 20 ms, which every client of every test would. Tests that leave the machine need them all.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not {"TRIM_DOCS", "TRIM_HOSTED"} & os.environ.keys():
    os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "data" / "one_certificate.pem")


@pytest.fixture(scope="session")
def counter(tmp_path_factory: pytest.TempPathFactory) -> TokenCounter:
    """A tokenizer that counts nearly as the fake server does."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    from trim.backends.token_counter import TokenCounter

    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n\n|\s?\w+|[^\w\s]|\s"), "isolated")
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return TokenCounter(path)
