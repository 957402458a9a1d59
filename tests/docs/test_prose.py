"""The language of the documentation: short lines, standard terms, links that resolve."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import COMMAND, GENERATED, outdated
from tests.docs.blocks import ROOT, pages

PAGES = [*pages(), ROOT / "CHANGELOG.md"]
OWN_WORDS = re.compile(
    r"\b(rivals?|the (full )?bill|the books|held shares?|ways? on|hangs? together|redone|redo|is no (TOML|JSON|valid)|"
    r"seams?|rooms?|keeps the pen|a wish|knobs?|dear(er|est)?|anew|honest(ly)?)\b",
    re.IGNORECASE,
)
"""Non-standard words of earlier versions; the glossary has the terms that replaced them."""


def _prose(page: Path) -> list[tuple[int, str]]:
    """Numbered lines outside fenced blocks and tables."""
    found, fenced = [], False
    for number, line in enumerate(page.read_text("utf-8").split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.lstrip().startswith("|"):
            found.append((number, line))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_are_short(page: Path) -> None:
    if str(page.relative_to(ROOT)).removeprefix("docs/") in GENERATED:
        pytest.skip("generated: one line a paragraph")
    long = [f"{page.name}:{number}" for number, line in _prose(page) if len(line) > 120]
    assert not long


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_words_are_those_of_the_glossary(page: Path) -> None:
    found = [
        f"{page.name}:{number}: {match.group()}"
        for number, line in _prose(page)
        for match in OWN_WORDS.finditer(re.sub(r"`[^`]*`", "", line))
    ]
    assert not found


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 130


def test_changelog_entries_are_short() -> None:
    long = []
    for entry in re.split(r"^- ", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)[1:]:
        text = re.split(r"\n(?:\n|#)", entry)[0]
        if len(text.split()) > 25:
            long.append(text)
    assert not long


def _slug(heading: str) -> str:
    text = re.sub(r"`|\*|\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip())


def _anchors(page: Path) -> set[str]:
    return {_slug(line.lstrip("#")) for _, line in _prose(page) if line.startswith("#")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    broken = []
    for number, line in _prose(page):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            if not path.exists() or (anchor and path.suffix == ".md" and anchor not in _anchors(path)):
                broken.append(f"{page.name}:{number}: {target}")
    assert not broken


def test_pages_named_in_the_code_exist() -> None:
    missing = []
    for folder in ("src", "tests", "benchmarks", "recipes", "examples", "deploy"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix not in (".py", ".toml", ".md", ".yaml", ".sh", ".jinja"):
                continue
            for name in re.findall(r"docs/[\w/.-]+\.md", path.read_text("utf-8")):
                if not (ROOT / name).exists():
                    missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert not missing


def test_generated_pages_are_current() -> None:
    old = [path.name for path in outdated()]
    assert not old, f"{', '.join(old)}: write them anew with: {COMMAND}"
