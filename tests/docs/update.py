"""Update the output that README and documentation show: `python -m tests.docs.update [PAGE ...]`.

Output with `...` or `…` is kept while it matches; otherwise it is reported, to be edited by hand.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.docs.blocks import ROOT, Session, blocks, commands, matches, pages


def update(page: Path) -> list[str]:
    """Run a page, write the new output into it, and return what has to be edited by hand."""
    text = page.read_text("utf-8")
    by_hand: list[str] = []
    replaced: list[tuple[int, int, list[str]]] = []
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        try:
            for block in blocks(page):
                if name := block.note("file"):
                    lines = (ROOT / name).read_text("utf-8").rstrip().split("\n")
                    replaced.append((block.line, block.line + block.text.count("\n") + 1, lines))
                elif not block.run:
                    continue
                elif name := block.note("save"):
                    session.save(name, block.text)
                elif block.language == "python":
                    code, printed = session.python(block.text)
                    if code:
                        by_hand.append(f"{block.where}: {printed}")
                elif block.notes == "output":
                    if not matches(tuple(block.text.split("\n")), session.printed):
                        end = block.line + block.text.count("\n") + 1
                        replaced.append((block.line, end, _lines(session.printed)))
                elif block.language == "console":
                    for step in commands(block):
                        code, printed = session.run(step.text)
                        if code not in (0, block.exit_code):
                            by_hand.append(f"{block.where}: `{step.text}` ended with {code}: {printed}")
                        elif not any(step.shown) or matches(step.shown, printed):
                            continue
                        elif "..." in step.shown or any("…" in line for line in step.shown):
                            by_hand.append(f"{block.where}: `{step.text}` printed\n{printed}")
                        else:
                            replaced.append((step.start, step.end, _lines(printed)))
        finally:
            session.close()
    lines = text.split("\n")
    for start, end, new in sorted(replaced, reverse=True):
        lines[start:end] = new
    page.write_text("\n".join(lines), "utf-8")
    return by_hand


def _lines(printed: str) -> list[str]:
    return [line.rstrip() for line in printed.strip("\n").split("\n")]


def main() -> None:
    """Update the pages that are named, or all."""
    for page in [Path(name).resolve() for name in sys.argv[1:]] or pages():
        print(page.relative_to(ROOT))
        for what in update(page):
            print(what)


if __name__ == "__main__":
    main()
