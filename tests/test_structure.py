"""The map of the package in the documentation is drawn from the code, and the figures of a tree are counted right."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.structure import BEGIN, END, draw, figures, percentile_95, read_tree, replaced, table

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"

TOP = '''"""A package.

More of it.
"""
'''
MODULE = '''"""Counted by hand."""

import os  # noqa: F401


def open_it(path):
    """Say something."""

    def inner():
        return path  # a comment

    # Another.
    return inner


def _hidden():
    pass


class Reader:
    """Public, with one method that has no docstring."""

    def __init__(self):
        pass

    @property
    def name(self):
        return "name"


class _Hidden:
    def read(self):
        return None
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "src/pack/__init__.py": TOP,
        "src/pack/__main__.py": '"""Not tested."""\n',
        "src/pack/alone.py": MODULE,
        "src/pack/inner/__init__.py": f'"""{"long " * 40}."""\n',
        "src/pack/inner/one.py": '"""One."""\n',
        "src/pack/inner/two.py": "",
        "src/pack/data/arrays.txt": "",
        "tests/inner/test_one.py": "",
        "tests/test_two.py": "",
        "tests/other/test_alone.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_figures_are_counted_as_by_hand(project: Path) -> None:
    assert figures(read_tree(project)) == {
        "files": "6",
        "lines": "40",
        "file, median lines": "1",
        "file, largest": "33",
        "functions": "6",
        "function, median lines": "2",
        "function, 95th percentile": "8",
        "function, longest": "8",
        "public functions with a docstring": "50.0%",  # open_it has one, Reader.name has none
        "modules with a test of their name": "66.7%",  # tests/other mirrors no folder
        "comments per 100 lines": "5.0",  # two; noqa is an order to a tool
    }


def test_percentile_is_the_least_value_that_95_percent_do_not_exceed() -> None:
    assert percentile_95(range(1, 101)) == 95
    assert percentile_95([7]) == 7


def test_a_folder_without_a_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no package in src"):
        read_tree(tmp_path)


def test_trees_stand_side_by_side() -> None:
    assert table({"old": {"files": "1,000"}, "new tree": {"files": "9"}}).splitlines() == [
        "|       |   old | new tree |",
        "|-------|------:|---------:|",
        "| files | 1,000 |        9 |",
    ]


def test_the_tree_has_a_line_a_folder_and_one_a_module_of_its_own(project: Path) -> None:
    lines = draw(project / "src" / "pack").splitlines()
    assert [line.split()[0].rpartition("pack/")[2] or "pack/" for line in lines] == ["pack/", "alone.py", "inner/"]
    assert lines[0].endswith(" A package.")
    assert lines[2].endswith(" …")
    assert draw(project / "src" / "pack", modules=True).splitlines()[3:] == [
        "    one.py".ljust(lines[0].index("A package.")) + "One.",
        "    two.py",
    ]


def test_only_what_is_between_the_markers_is_replaced() -> None:
    page = f"# Before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(page, "new/") == f"# Before\n{BEGIN}\n```text\nnew/\n```\n{END}\nafter\n"


@pytest.mark.parametrize("page", ["", BEGIN, f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"])
def test_a_page_without_a_place_for_the_tree_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="the page needs one"):
        replaced(page, "new/")


def test_the_map_in_the_documentation_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise: python -m benchmarks.structure --write docs/architecture.md."""
    page = PAGE.read_text()
    monkeypatch.chdir(ROOT)  # the map names the package by its path from here
    assert replaced(page, draw(Path("src/trim"))) == page
