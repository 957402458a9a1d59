"""The commands and snippets of README and documentation work, and print what the pages show.

The default run leaves out the blocks that take minutes; `make docs-check` (TRIM_DOCS=all) runs every one.
`python -m tests.docs.update [PAGE ...]` updates the output on the pages.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.util
import io
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, Session, blocks, commands, matches, pages
from trim.cli.main import parser
from trim.config.loading import load_config

ALL = os.environ.get("TRIM_DOCS") == "all"


def _now(block: Block) -> bool:
    return block.run and (ALL or not block.slow)


def _runs(page: Path) -> bool:
    return any(_now(block) and block.language in ("console", "python") for block in blocks(page))


@pytest.mark.parametrize(
    "page", [page for page in pages() if _runs(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_a_page_does_what_it_shows(page: Path, tmp_path: Path) -> None:
    session = Session(tmp_path)
    try:
        for block in blocks(page):
            if _now(block):
                _run(session, block)
    finally:
        session.close()


def _run(session: Session, block: Block) -> None:
    if name := block.note("save"):
        session.save(name, block.text)
    elif block.language == "console":
        steps = commands(block)
        for step in steps:
            if "curl" in step.text and not shutil.which("curl"):
                pytest.skip("curl is not installed")
            code, printed = session.run(step.text)
            expected = block.exit_code if step is steps[-1] else 0
            assert code == expected, f"{block.where}: `{step.text}` ended with {code}:\n{printed}"
            if step.shown and any(step.shown):
                assert matches(step.shown, printed), f"{block.where}: `{step.text}` printed\n{printed}"
    elif block.language == "python":
        code, printed = session.python(block.text)
        assert code == 0, f"{block.where}:\n{printed}"
    elif block.notes == "output":
        assert matches(tuple(block.text.split("\n")), session.printed), f"{block.where}: printed\n{session.printed}"


def _options(made: argparse.ArgumentParser) -> Iterator[str]:
    for action in made._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _options(child)


def test_options_in_the_text_exist() -> None:
    """An option of `trim` or of a committed script that a page names in `code`."""
    known = set(_options(parser()))
    for folder in ("benchmarks", "recipes", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            known.update(re.findall(r'"(--[a-z][a-z-]+)"', path.read_text("utf-8")))
    unknown = []
    for page in pages():
        for code in re.findall(
            r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        ):
            named = re.findall(r"(?:^|\s)(--[a-z][a-z-]+)", code)
            unknown += [f"{page.name}: {option}" for option in named if option not in known | _OTHERS]
    assert not unknown


_OTHERS = {"--no-deps", "--no-enable-chunked-prefill", "--ctx-size", "--max-model-len", "--context-length"}
"""Options of other programs."""


def _of(language: str) -> list[Block]:
    return [block for page in pages() for block in blocks(page) if block.language == language]


@pytest.mark.parametrize("block", _of("console"), ids=lambda block: block.where)
def test_commands_are_known(block: Block) -> None:
    """Also those that are not run: the command line takes their options, and the modules are there."""
    for step in commands(block):
        text = re.sub(r"\$\w+|\$\(.*?\)", "X", step.text.replace("\\\n", " "))
        words = shlex.split(re.split(r" \| | < | > | && | &$|; ", text)[-1 if " | trim" in text else 0], comments=True)
        while words and "=" in words[0] and not words[0].startswith("-"):
            words = words[1:]
        if words[:1] == ["trim"]:
            _parse(words[1:], block)
        elif words[:2] == ["python", "-m"] and words[2].startswith(("benchmarks", "recipes", "tests")):
            assert importlib.util.find_spec(words[2]), f"{block.where}: there is no {words[2]}"


def _parse(words: list[str], block: Block) -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            parser().parse_args(words)
    except SystemExit as end:
        ending = (0, block.exit_code)
        assert end.code in ending, f"{block.where}: trim {shlex.join(words)}\n{said.getvalue()}"


@pytest.mark.parametrize("block", _of("toml"), ids=lambda block: block.where)
def test_configurations_load(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where the examples lie
    if block.notes.startswith("not run:") or "invalid" in block.notes.split(", "):
        return
    path = tmp_path / "trim.toml"
    path.write_text(block.text)
    load_config(path)


@pytest.mark.parametrize("block", _of("python"), ids=lambda block: block.where)
def test_python_parses(block: Block) -> None:
    ast.parse(block.text)


def _copied() -> list[Block]:
    return [block for page in pages() for block in blocks(page) if block.note("file")]


@pytest.mark.parametrize("block", _copied(), ids=lambda block: block.where)
def test_shown_files_are_those_of_the_repository(block: Block) -> None:
    assert block.text.rstrip() == (ROOT / block.note("file")).read_text("utf-8").rstrip()
