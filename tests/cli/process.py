"""The command line in a process of its own."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from tests.forked import forked

SOLVABLE = (
    "A loaf of sourdough at the bakery costs $8. biscuits cost $5 each. How much more do 10 loaves of sourdough cost "
    "than 10 biscuits?"
)
QUESTION = "Tom has 3 boxes of 12 pens and 5 loose pens. How many pens does he have?"


def trim(*arguments: str, stdin: str = "", file_size: int | None = None) -> CompletedProcess[str]:
    """Run `trim` with these arguments and see what it prints.

    Args:
        arguments: of the command.
        stdin: what it reads.
        file_size: bytes that no file grows beyond, as on a full disk.
    """
    with TemporaryDirectory() as folder:
        return Running.start(Path(folder), *arguments, stdin=stdin, file_size=file_size).end()


@dataclass
class Running:
    """`trim` while it runs. `streams`: its output and its errors."""

    process: BaseProcess
    streams: list[Connection]

    @classmethod
    def start(cls, folder: Path, *arguments: str, stdin: str = "", file_size: int | None = None) -> Running:
        """See `trim`. The folder is for what it reads."""
        read = folder / "stdin"
        read.write_text(stdin, "utf-8")
        environment = os.environ | {"COLUMNS": "140", "NO_COLOR": "1"}
        ours, theirs = zip(*(Pipe(duplex=False) for _ in range(2)), strict=True)
        process = forked(_command, arguments, Path.cwd(), environment, read, theirs, file_size)
        for stream in theirs:
            stream.close()
        return cls(process, [*ours])

    def end(self, number: signal.Signals | None = None) -> CompletedProcess[str]:
        """What it has done, once it has ended, by that signal if one is given."""
        if number is not None and self.process.pid is not None:
            os.kill(self.process.pid, number)
        said = []
        for stream in self.streams:
            with os.fdopen(os.dup(stream.fileno()), encoding="utf-8") as file:
                said.append(file.read())
            stream.close()
        self.process.join(240)
        code = self.process.exitcode
        assert code is not None
        return CompletedProcess([], code, *said)


def _command(
    arguments: tuple[str, ...],
    place: Path,
    environment: Mapping[str, str],
    read: Path,
    streams: tuple[Connection, Connection],
    file_size: int | None,
) -> None:
    """The process: as `python -m trim` is after its imports."""
    from trim.cli.main import main

    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = read.open(encoding="utf-8")
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdout, sys.stderr = open(1, "w", encoding="utf-8"), open(2, "w", 1, encoding="utf-8")  # noqa: SIM115
    sys.argv = ["trim", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    sys.exit(main())
