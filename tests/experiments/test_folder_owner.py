"""One process at a time in a folder: a second one is refused, what a dead one left is taken over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from trim.cli.main import main
from trim.errors import ConfigError
from trim.experiments.folder_owner import FILE, Owner, owned

HOLD = """
import sys, pathlib
from trim.experiments.folder_owner import owned
with owned(pathlib.Path(sys.argv[1])):
    print("here", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that works in the folder until its input ends."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        yield process


def test_a_second_process_is_refused_and_told_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = tmp_path / "out", tmp_path / "q.jsonl"
    file.write_text('{"question": "What is 2 + 3?", "answer": "5"}\n')
    task = ["--task", str(file), "--out", str(folder)]
    with held(folder) as process:
        monkeypatch.chdir(tmp_path)
        for arguments in (
            ["eval", "--policies", "always-weak", *task],
            ["eval", "--policies", "always-weak", "--task", str(file), "--record", str(folder), "--out", "other"],
            ["record", *task],
            ["plan", "--weak-solves", "0.4", "--strong-solves", "0.8", "--out", str(folder)],
            ["fit", "pomdp", str(tmp_path), "--out", str(folder)],
            ["fit", "router", "classifier", str(tmp_path), "--out", str(folder)],
            *([["train", "agg", "--out", str(folder)]] if find_spec("torch") else []),
        ):
            assert main(arguments) == 2
            error = capsys.readouterr().err
            assert f"{folder} is in use by process {process.pid} since 20" in error
            assert error.count("\n") == 1
        assert sorted(path.name for path in folder.iterdir()) == [FILE]
    with owned(folder):
        assert json.loads((folder / FILE).read_text())["pid"] == os.getpid()
    assert not list(folder.iterdir())


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    with held(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    assert json.loads((tmp_path / FILE).read_text())["pid"] == process.pid
    with owned(tmp_path):
        pass
    reused = replace(Owner.here(), pid=os.getppid())  # a process that lives, but has no lock
    (tmp_path / FILE).write_text(json.dumps(asdict(reused)))
    with owned(tmp_path):
        pass
    for rest in ("", "{", '{"pid": 3}', "[]"):
        (tmp_path / FILE).write_text(rest)
        with owned(tmp_path):
            pass


def test_of_another_host_nothing_can_be_known(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text(json.dumps(asdict(replace(Owner.here(), host="elsewhere", pid=7))))
    with pytest.raises(ConfigError, match=r"in use by process 7 on elsewhere since .*: wait for it, or remove .*owner"):
        owned(tmp_path).__enter__()
    file.unlink()
    with owned(tmp_path):
        pass


def test_the_same_process_cannot_have_it_twice(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(ConfigError, match="in use"), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file cannot be made: File exists"), owned(tmp_path / "file"):
        pass
