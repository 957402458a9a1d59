"""constraints.txt holds a version of everything that pyproject.toml asks for; `make constraints` writes it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.strip() and not line.startswith("#")
]
WANTED = [
    requirement
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for requirement in map(Requirement, texts)
    if requirement.name != PROJECT["name"]
]
PYTHONS = ("3.11", "3.12", "3.13")


def pinned(line: str) -> Version:
    """The version in a line `name==version`, which may have a marker and nothing else."""
    requirement = Requirement(line)
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    assert not requirement.extras
    assert requirement.url is None
    return Version(specifier.version)


@pytest.mark.parametrize("line", LINES)
def test_a_line_pins_one_version(line: str) -> None:
    pinned(line)


@pytest.mark.parametrize(
    "line", ["pyee==", "pyee", "pyee>=13", "pyee==13.*", "a @ https://example.org/a.whl", "a[b]==1"]
)
def test_what_is_not_a_pin_is_found(line: str) -> None:
    with pytest.raises((ValueError, AssertionError)):  # packaging's own errors are ValueErrors
        pinned(line)


@pytest.mark.parametrize("wanted", WANTED, ids=str)
@pytest.mark.parametrize("python", PYTHONS)
def test_what_the_project_asks_for_is_pinned_once_and_fits(wanted: Requirement, python: str) -> None:
    here = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    pins = [
        pinned(line)
        for line in LINES
        if canonicalize_name(Requirement(line).name) == canonicalize_name(wanted.name)
        and ((marker := Requirement(line).marker) is None or marker.evaluate(here))
    ]
    assert len(pins) == 1
    assert wanted.specifier.contains(pins[0])
