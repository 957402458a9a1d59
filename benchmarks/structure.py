"""Figures of source trees side by side, and the map of a package as the documentation shows it.

    python -m benchmarks.structure [TREE ...]              figures of project folders (default: this one)
    python -m benchmarks.structure --tree src/trim         the package, one line a folder; --modules: one line a file
    python -m benchmarks.structure --write docs/architecture.md     that map, between the page's two marker comments

A TREE has its sources in src/ and its tests in tests/. Standard library only: other revisions need not be installed.
"""

from __future__ import annotations

import argparse
import ast
import io
import math
import statistics
import sys
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "<!-- tree: begin -->", "<!-- tree: end -->"
WIDTH = 120
_DIRECTIVES = ("fmt:", "mypy:", "noqa", "pragma:", "ruff:", "type:")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """What is counted in a file."""

    path: Path
    lines: int
    functions: tuple[int, ...]
    """Length in lines of every function, nested ones and methods included; decorators don't count."""
    public: int
    """Functions of the module, and methods of its public classes, without a leading underscore in the name."""
    documented: int
    """Those of them that have a docstring."""
    comments: int
    """Comments for readers; orders to tools, such as noqa, don't count."""
    tested: bool | None
    """Whether a test file has the module's name; None for __init__ and __main__, which need none."""


def read_module(path: Path, package: Path, tests: Path) -> Module:
    """Count in one file of a package."""
    text = path.read_text()
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    public = list(public_functions(tree))
    return Module(
        path,
        len(text.splitlines()),
        tuple((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions),
        len(public),
        sum(ast.get_docstring(node) is not None for node in public),
        sum(
            token.type == tokenize.COMMENT and not token.string.lstrip("# ").startswith(_DIRECTIVES)
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
        ),
        None if path.stem.startswith("__") else any(test.exists() for test in tests_of(path, package, tests)),
    )


def public_functions(tree: ast.Module) -> Iterator[Function]:
    """Functions and methods that others may call, by their names; special methods do not count."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (part for part in node.body if isinstance(part, Function) and not part.name.startswith("_"))


def tests_of(path: Path, package: Path, tests: Path) -> list[Path]:
    """Where a module's test may be: `foo/bar.py` has `tests/foo/test_bar.py` or `tests/test_bar.py`."""
    name = f"test_{path.name}"
    return [tests / path.parent.relative_to(package) / name, tests / name]


def read_tree(tree: Path) -> list[Module]:
    """All modules of the packages in a project's src/.

    Raises:
        SystemExit: no package is there.
    """
    packages = [path.parent for path in sorted(tree.glob("src/*/__init__.py"))]
    if not packages:
        sys.exit(f"{tree} has no package in src/: give the folder of a project")
    return [
        read_module(path, package, tree / "tests") for package in packages for path in sorted(package.rglob("*.py"))
    ]


def percentile_95(values: Sequence[int]) -> int:
    """The least value that 95% of the values don't exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def figures(modules: Sequence[Module]) -> dict[str, str]:
    """What the table shows of a tree, by the name of the row."""
    lengths = [length for module in modules for length in module.functions]
    sizes = [module.lines for module in modules]
    testable = [module.tested for module in modules if module.tested is not None]
    public = sum(module.public for module in modules)
    lines = sum(sizes)
    return {
        "files": f"{len(modules):,}",
        "lines": f"{lines:,}",
        "file, median lines": f"{statistics.median(sizes):g}",
        "file, largest": f"{max(sizes):,}",
        "functions": f"{len(lengths):,}",
        "function, median lines": f"{statistics.median(lengths):g}",
        "function, 95th percentile": f"{percentile_95(lengths)}",
        "function, longest": f"{max(lengths)}",
        "public functions with a docstring": f"{sum(module.documented for module in modules) / public:.1%}",
        "modules with a test of their name": f"{sum(testable) / len(testable):.1%}",
        "comments per 100 lines": f"{100 * sum(module.comments for module in modules) / lines:.1f}",
    }


def table(columns: dict[str, dict[str, str]]) -> str:
    """A Markdown table, a column a tree."""
    rows = [("", *columns), *_rows(columns)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *others = widths
    rule = "|".join(["-" * (first + 2), *(f"{'-' * (width + 1)}:" for width in others)])
    lines = [
        " | ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, others, strict=True))])
        for name, *cells in rows
    ]
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


def _rows(columns: dict[str, dict[str, str]]) -> Iterator[tuple[str, ...]]:
    """Row by row: its name, and its cell in each column."""
    for name in next(iter(columns.values())):
        yield name, *(column[name] for column in columns.values())


def summary(path: Path) -> str:
    """The first line of a file's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def draw(package: Path, *, modules: bool = False) -> str:
    """A package as a tree: its folders, and the files of its own or, with `modules`, every file."""
    entries: list[tuple[str, str]] = []

    def add(folder: Path, depth: int, name: str) -> None:
        entries.append(("  " * depth + name + "/", summary(folder / "__init__.py")))
        for path in sorted(folder.glob("*.py")):
            if not path.stem.startswith("__") and (modules or depth == 0):
                entries.append(("  " * (depth + 1) + path.name, summary(path)))
        for path in sorted(folder.glob("*/__init__.py")):
            add(path.parent, depth + 1, path.parent.name)

    add(package, 0, package.as_posix())
    column = max(len(name) for name, _ in entries) + 2
    return "\n".join(
        (name.ljust(column) + textwrap.shorten(text, WIDTH - column, placeholder=" …")).rstrip()
        for name, text in entries
    )


def replaced(page: str, tree: str) -> str:
    """The page with the tree between its marker comments.

    Raises:
        ValueError: the page has not both markers, once each and in order.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page needs one {BEGIN} and one {END} behind it")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    return f"{before}{BEGIN}\n```text\n{tree}\n```\n{END}{after}"


def main() -> None:
    """Measure or draw, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="*", type=Path, default=[Path()], metavar="TREE")
    parser.add_argument("--tree", type=Path, metavar="PACKAGE", help="draw this package, as src/trim")
    parser.add_argument("--modules", action="store_true", help="draw every file too")
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="put the map of src/trim, or of --tree, into this page"
    )
    args = parser.parse_args()
    if args.write:
        try:
            page = replaced(args.write.read_text(), draw(args.tree or Path("src/trim"), modules=args.modules))
        except ValueError as error:
            sys.exit(f"{args.write}: {error}")
        args.write.write_text(page)
    elif args.tree:
        print(draw(args.tree, modules=args.modules))
    else:
        print(table({str(tree): figures(read_tree(tree)) for tree in args.trees}))


if __name__ == "__main__":
    main()
