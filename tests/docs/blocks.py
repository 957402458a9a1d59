"""Fenced blocks of Markdown pages, and a session that runs those of one page in order in one empty folder.

A comment right before a block says how it is treated:

    <!-- not run: REASON -->     only parsed: its `trim` commands must be known to the command line
    <!-- slow -->                takes minutes: run by `make docs-check`, not by the default tests
    <!-- exit 2 -->              its last command ends with this code
    <!-- save: trim.toml -->     the block is a file for the commands that follow
    <!-- invalid -->             a configuration that is refused
    <!-- file: examples/x.py --> the block is exactly this file of the repository
    <!-- output -->              a `text` block: what the block before it printed

In a `console` block a line that begins with `$ ` is a command; what follows is its output, where it is shown. A line
`...` in the output stands for any lines, `…` for the rest of one. A command that ends in ` &` is a server, and is
stopped at the end of the page.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PORT = "8080"
HOME = "/home/you"

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)")
_COMMENT = re.compile(r"^\s*<!-- (?P<text>.+) -->$")
_PROGRESS = re.compile(r"^(?:.* ━+ *\d+/\d+ .*|trim: [\d,]+ (?:of [\d,]+ done|solutions to go) .*)\n?", re.MULTILINE)
_VARYING = (
    (re.compile(r"\b\d+(\.\d+)?(?=\s(s|ms|seconds)\b)"), "0"),
    # What was drafted ahead of the judge depends on timing, and with it the cost: the last column of tables.
    (re.compile(r"\b\d+(?=\s+(weak tokens|discarded))"), "0"),
    (re.compile(r" *\b[\d.]+ │$", re.MULTILINE), " 0 │"),
    (re.compile(r"\bcost \$?[\d.e-]+"), "cost 0"),
    (re.compile(r'"created": ?\d+'), '"created": 0'),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), "2026-01-01"),
    (re.compile(r'"(chatcmpl|cmpl)-[\w-]+"'), '"chatcmpl-0"'),
    (re.compile(r'"seconds": ?[\d.e-]+'), '"seconds": 0'),
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is that of its first line of text, from 0; `notes`: the comment before it."""

    page: Path
    line: int
    language: str
    text: str
    notes: str

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line + 1}"

    @property
    def run(self) -> bool:
        """Whether it is run at all."""
        return not self.notes.startswith("not run:") and not self.note("file")

    @property
    def slow(self) -> bool:
        """Whether it takes minutes."""
        return "slow" in self.notes.split(", ")

    def note(self, name: str) -> str:
        """The text after `NAME:` in the notes."""
        found = re.search(rf"(?:^|, ){name}: ([^,]+)", self.notes)
        return found.group(1) if found else ""

    @property
    def exit_code(self) -> int:
        """What the last command ends with."""
        found = re.search(r"\bexit (\d+)", self.notes)
        return int(found.group(1)) if found else 0


@dataclass(frozen=True)
class Command:
    """One command of a console block with the output that is shown; `start` and `end` are lines of that output."""

    text: str
    shown: tuple[str, ...]
    start: int
    end: int


def pages() -> list[Path]:
    """README, CONTRIBUTING and every page of the documentation."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, without their indentation."""
    found, notes = [], ""
    lines = page.read_text("utf-8").split("\n")
    index = 0
    while index < len(lines):
        if comment := _COMMENT.match(lines[index]):
            notes = ", ".join(filter(None, (notes, comment["text"])))
        elif fence := _FENCE.match(lines[index]):
            start, indent = index + 1, len(fence["indent"])
            index = start
            while lines[index].strip() != "```":
                index += 1
            text = "\n".join(line[indent:] for line in lines[start:index])
            found.append(Block(page, start, fence["language"], text, notes))
            notes = ""
        elif lines[index].strip():
            notes = ""
        index += 1
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    lines = block.text.split("\n")
    index = 0
    while index < len(lines):
        if not lines[index].startswith("$ "):
            raise AssertionError(f"{block.where}: a console block begins with a command")
        first = index
        while lines[index].endswith("\\") or _open_quote("\n".join(lines[first : index + 1])):
            index += 1
        text = "\n".join(lines[first : index + 1])[2:]
        start = index = index + 1
        while index < len(lines) and not lines[index].startswith("$ "):
            index += 1
        found.append(Command(text, tuple(lines[start:index]), block.line + start, block.line + index))
    return found


def _open_quote(text: str) -> bool:
    try:
        shlex.split(text)
    except ValueError:
        return True
    return False


def normal(text: str) -> list[str]:
    """Lines of output without what legitimately varies: times, dates, identifiers, costs of drafts ahead."""
    for pattern, plain in _VARYING:
        text = pattern.sub(plain, text)
    return [line.rstrip() for line in text.strip("\n").split("\n")]


def matches(shown: tuple[str, ...], printed: str) -> bool:
    """Whether the shown output is what was printed."""
    lines = normal("\n".join(shown))
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else ".*".join(map(re.escape, line.split("…"))) + r"\n" for line in lines
    )
    return re.fullmatch(pattern, "\n".join(normal(printed)) + "\n") is not None


@dataclass
class Session:
    """Runs the blocks of one page in one folder."""

    folder: Path
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    printed: str = ""

    def __post_init__(self) -> None:
        shims = self.folder / ".bin"
        shims.mkdir()
        for name, module in (("trim", "-m trim"), ("python", "")):
            shim = shims / name
            shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            shim.chmod(0o755)
        (self.folder / "examples").symlink_to(ROOT / "examples")
        self.port = str(_free_port())
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TRIM_")},
            "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "COLUMNS": "86",
            "TERM": "dumb",
        }

    def run(self, text: str) -> tuple[int, str]:
        """Run a command; exit code and what it printed, standard error included."""
        text = text.replace(PORT, self.port)
        if text.endswith(" &"):
            self._serve(text.removesuffix(" &"))
            return 0, ""
        done = subprocess.run(
            ["bash", "-c", text], cwd=self.folder, env=self.environment, capture_output=True, check=False, timeout=900
        )
        self.printed = _PROGRESS.sub("", self._plain((done.stdout + done.stderr).decode()))
        return done.returncode, self.printed

    def python(self, text: str) -> tuple[int, str]:
        """Run a Python block."""
        (self.folder / ".block.py").write_text(text.replace(PORT, self.port), "utf-8")
        return self.run("python .block.py")

    def save(self, name: str, text: str) -> None:
        """Write a block to a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", "utf-8")

    def close(self) -> None:
        """Stop the servers."""
        for server in self.servers:
            server.terminate()
            server.wait(30)

    def _plain(self, text: str) -> str:
        return text.replace(str(self.folder), HOME).replace(self.port, PORT)

    def _serve(self, text: str) -> None:
        """Start a server and wait until it answers."""
        nowhere = subprocess.DEVNULL
        command = ["bash", "-c", f"exec {text}"]
        server = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=nowhere, stderr=nowhere)
        self.servers.append(server)
        for _ in range(600):
            assert server.poll() is None, f"ended at once: {text}"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"does not answer: {text}")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
