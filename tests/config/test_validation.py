"""The messages of validation for wrong settings, and its list of keys."""

from __future__ import annotations

import pytest

from trim.config.settings import Config, ModelSettings
from trim.config.validation import allowed, fields, key_paths, named, scalar_of, shown, unknown


@pytest.mark.parametrize(
    ("key", "words", "kind"),
    [
        (("weak", "timeout"), "a number above 0", float),
        (("weak", "prices", "cached"), "a finite number of at least 0", float),
        (("serve", "port"), "a whole number in [0, 65535]", int),
        (("serve", "pass_through"), "true or false", bool),
        (("generation", "top_p"), "a number in (0, 1]", float),
        (("budget", "max_strong_tokens"), "a whole number of at least 0", int),
        (("strong", "on_error"), "one of 'raise', 'weak', 'strong'", str),
        (("policy", "name"), "a string", str),
        (("policy", "parameter"), "a number", float),
    ],
)
def test_what_a_key_accepts(key: tuple[str, ...], words: str, kind: type) -> None:
    field = fields(Config)[key]
    assert (allowed(field), scalar_of(field)) == (words, kind)


def test_keys_that_do_not_exist() -> None:
    assert ("weak", "prices", "promt") not in fields(Config)
    assert ("weak", "timeout", "x") not in fields(Config)
    assert unknown(("weak", "max_steps"), Config, is_table=False).endswith("did you mean [generation] max_steps?")
    assert unknown(("xyzzy",), ModelSettings, is_table=False).startswith("unknown key 'xyzzy'; there are backend,")
    assert unknown(("weak", "price"), Config, is_table=True) == "unknown table [weak.price]; did you mean 'prices'?"


def test_every_key_is_reached_once() -> None:
    paths = key_paths(Config)
    assert len(set(paths)) == len(paths)
    assert ("prm", "prices", "completion") in paths
    assert named(("prm", "prices", "completion")) == "[prm.prices] completion"


def test_values_are_shown_on_one_short_line() -> None:
    assert (shown(True), shown("a\nb")) == ("true", "'a\\nb'")
    assert len(shown("x" * 1000)) < 80
