"""The list of all keys, from which the documentation and the names of variables are made."""

from __future__ import annotations

from trim.config.loading import load_config
from trim.config.reference import reference, tables
from trim.config.settings import Config


def test_every_key_is_described() -> None:
    keys = {(key.table, key.path[-1]): key for key in reference()}
    assert len(keys) == len(reference()) > 60
    assert all(key.description.endswith((".", ")")) for key in keys.values())
    timeout = keys["weak", "timeout"]
    assert (timeout.allowed, timeout.default) == ("a number above 0", 60.0)
    assert keys["weak.prices", "prompt"].variable == "TRIM_WEAK__PRICES__PROMPT"
    assert keys["serve", "port"].allowed == "a whole number in [0, 65535]"
    assert keys["budget", "max_cost"].allowed == "a number of at least 0"
    assert keys["generation", "separator"].allowed == "one of 'blank-line', 'newline', 'numbered', 'sentence'"
    assert set(tables()) == {key.table for key in reference()}
    assert all(tables().values())


def test_defaults_are_those_of_a_configuration_without_a_file() -> None:
    set_ones = {key.variable: key.default for key in reference() if key.default is not None}
    written = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in set_ones.items()}
    assert load_config(None, written) == Config()
