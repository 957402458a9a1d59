"""The advice in error messages works."""

from __future__ import annotations

import ast
import json
import re
import tomllib
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.errors import BadResponse, ConfigError, MissingExtra, TrimError

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
RAISED = sorted(
    (str(path.relative_to(ROOT)), *(ast.unparse(argument) for argument in node.args))
    for path in (ROOT / "src").rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "MissingExtra"
)


def brings(requirements: list[str], package: str) -> bool:
    names = {re.split(r"[\[>=<]", requirement)[0].replace("-", "_") for requirement in requirements}
    return package.replace("-", "_") in names


@pytest.mark.parametrize("use", RAISED, ids=" ".join)
def test_the_extra_that_a_message_names_exists_and_brings_the_package(use: tuple[str, ...]) -> None:
    where, package, *extra = use
    requirements = EXTRAS[ast.literal_eval(extra[0])] if extra else PROJECT["dependencies"]
    if package.startswith(("'", '"')):
        assert brings(requirements, ast.literal_eval(package)), where


def test_every_use_is_looked_at() -> None:
    assert len(RAISED) >= 8


def test_what_to_install_is_what_works_today() -> None:
    """The package is on no registry: from a clone, or from the repository."""
    words = str(MissingExtra("math-verify", "math"))
    assert words == (
        "math-verify is needed for this: pip install '.[math]' in a clone of TRIM, "
        'or pip install "trim-router[math] @ git+URL" with the URL that you would clone'
    )
    assert "pip install . in a clone" in str(MissingExtra("reasoning-gym"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "{path}: there is no such file"),
        ("{", "{path}: not a curve (Expecting property name"),
        ("{}", "{path}: not a curve (it has no 'x')"),
        ("[]", "{path}: not a curve (its content has another form)"),
    ],
)
def test_what_cannot_be_read_is_said_without_python(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "curve.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises((OSError, ValueError, KeyError, TypeError)) as caught:
        json.loads(path.read_text())["x"]
    assert str(ConfigError.reading(path, "not a curve", caught.value)).startswith(message.format(path=path))
    with pytest.raises(OSError, match=r"policy\.json") as missing:
        (tmp_path / "policy.json").read_text()
    assert "(it has no policy.json)" in str(ConfigError.reading(tmp_path, "not a policy", missing.value))


@given(st.text(), st.sampled_from([TrimError, ConfigError, lambda text: BadResponse(text, text, text)]))
def test_an_error_is_one_line_without_control_characters(text: str, kind: Callable[[str], TrimError]) -> None:
    """Names in damaged or made-up files break no line of a log, and say nothing to a terminal."""
    shown = str(kind(f"no model called {text}; name another"))
    assert len(shown.splitlines()) == 1
    assert not any(unicodedata.category(character) == "Cc" for character in shown)


def test_line_breaks_and_terminal_commands_in_a_name_are_shown_as_spaces() -> None:
    assert str(ConfigError("no policy called a\nb\x1b[2J\u2028c d")) == "no policy called a b [2J c d"
