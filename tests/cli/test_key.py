"""`trim key` prints a key and the entry that a file of keys needs for it."""

from __future__ import annotations

import tomllib

import pytest

from trim.cli.main import main
from trim.server.auth import hash_key


def test_the_entry_is_toml_and_holds_the_hash_of_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "team a"]) == 0
    first, _, entry = capsys.readouterr().out.partition("\nAppend to the file of keys:\n")
    (key,) = tomllib.loads(entry)["key"]
    assert key == {"name": "team a", "sha256": hash_key(first.removeprefix("The key, shown once: "))}


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb"])
def test_names_that_would_break_the_entry_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", name]) == 2
    assert "must be printable" in capsys.readouterr().err
