"""Ctrl-C and SIGTERM at any moment, imports included, over real processes: one sentence, an exit code, nothing lost.

TRIM_INTERRUPTIONS=200 tries more moments than the few of a default run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trim.cli.main import main

TIMES = int(os.environ.get("TRIM_INTERRUPTIONS", "5"))
EVAL = ["eval", "--questions", "6", "--policies", "always-weak,threshold", "--parameters", "threshold=0.5"]
START = """
import signal, sys
from trim.cli.main import main  # a small module without imports; before it Python itself starts
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, also where these tests ignore it
open(sys.argv.pop(1), "w").close()
sys.exit(main())
"""


def interrupted(arguments: list[str], started: Path, delay: float, number: signal.Signals) -> tuple[int, str]:
    """Exit code and errors of a process that gets a signal so many seconds after Python itself has started."""
    command = [sys.executable, "-c", START, str(started), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(number)
    _, errors = process.communicate(timeout=240)
    return process.returncode, errors


@pytest.mark.parametrize("case", range(TIMES))
def test_an_interruption_at_any_moment_is_one_sentence_and_loses_nothing(case: int, tmp_path: Path) -> None:
    chance = random.Random(case)
    out, number = tmp_path / "out", chance.choice((signal.SIGINT, signal.SIGTERM))
    delay = chance.choice((0.02, 0.3, 1.5)) * chance.uniform(0.3, 1)
    code, errors = interrupted([*EVAL, "--out", str(out)], tmp_path / "started", delay, number)
    assert code in ((0, 130) if number is signal.SIGINT else (0, 143, -signal.SIGTERM)), errors
    assert "Traceback" not in errors
    if code > 0:
        last = errors.splitlines()[-1]
        assert last.startswith("trim: interrupted" if number is signal.SIGINT else "trim: terminated")
    assert not list(tmp_path.rglob("*.tmp"))
    if not out.exists():
        return
    for file in out.glob("*.json"):
        json.loads(file.read_text("utf-8"))
    if case == TIMES - 1 or TIMES > 5:
        assert main([*EVAL, "--out", str(out), "--resume", "--json"]) == 0
        assert (out / "traces.jsonl").read_bytes().count(b"\n") == 12


def test_an_evaluation_that_is_interrupted_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    long = [*EVAL, "--questions", "2000", "--out", str(out)]
    code, errors = interrupted(long, tmp_path / "started", 4.0, signal.SIGINT)
    assert code == 130
    assert errors.splitlines()[-1] == f"trim: interrupted; continue with: --out {out} --resume"


def test_sigterm_is_heard_where_ctrl_c_is_ignored(tmp_path: Path) -> None:
    """As in a background job of a script."""
    command = [sys.executable, "-m", "trim", *EVAL, "--questions", "2000", "--out", str(tmp_path / "out")]
    ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command]
    process = subprocess.Popen(ignoring, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out" / "run.json").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 143
    assert errors.splitlines()[-1].startswith("trim: terminated")
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_python_drops_is_repeated(number: signal.Signals) -> None:
    """What is raised in a finaliser is dropped, and finalisers run at any moment."""
    script = f"""
import asyncio, os, signal, time
from trim.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
        time.sleep(0.1)

def run(coroutine):
    coroutine.close()
    Finalised()
    time.sleep(60)

asyncio.run = run
raise SystemExit(main())
"""
    command = [sys.executable, "-c", script, "key", "me"]
    process = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert process.returncode == 128 + int(number)
    assert process.stderr.startswith("trim: interrupted" if number is signal.SIGINT else "trim: terminated")
