"""The real pair as GGUF files in the program's own process: routed answers, and what is left when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.real.fetch import FOLDER, MODELS

FILES = {
    role: Path(os.environ.get(f"TRIM_REAL_{role.upper()}", FOLDER / MODELS[role].file)) for role in ("weak", "strong")
}
QUESTION = "Natalia sold clips to 48 friends in April, and half as many in May. How many did she sell altogether?"
LONG = "Write a proof that there are infinitely many primes, in at least forty long steps."

pytestmark = pytest.mark.skipif(
    not all(file.is_file() for file in FILES.values()), reason="python -m recipes.real.fetch weak strong fetches them"
)


def command(question: str, *more: str) -> list[str]:
    models = [f"--{role}=gguf/{file}" for role, file in FILES.items()]
    return [sys.executable, "-m", "trim.cli.main", "solve", *models, "--judge=strong", *more, question]


def started(question: str, *more: str) -> subprocess.Popen[str]:
    """The program, which Ctrl-C reaches also where a shell has started the tests in the background."""
    return subprocess.Popen(
        command(question, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )


def test_a_question_is_answered_with_steps_scores_and_tokens() -> None:
    began = time.monotonic()
    done = subprocess.run(command(QUESTION, "--json"), capture_output=True, text=True, check=True)
    trace = json.loads(done.stdout)
    assert trace["answer"] == "72"
    assert all(0 < decision["score"] < 1 for decision in trace["decisions"])
    assert trace["usage"]["weak"]["completion_tokens"] > 50
    assert "gguf: strong and judge" in done.stderr
    print(f"answered after {time.monotonic() - began:.1f} s")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_whatever_ends_the_program(number: signal.Signals) -> None:
    process = started(LONG, "--policy=always-strong")
    assert process.stderr is not None
    for _ in FILES:
        assert process.stderr.readline().startswith("gguf: ")
    listening = _listening(process.pid)
    while len(listening) < len(FILES):
        assert process.poll() is None
        time.sleep(0.1)
        listening = _listening(process.pid)
    time.sleep(2)  # it writes
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(number, -number)
    for port in listening:
        with socket.socket() as other:
            assert other.connect_ex(("127.0.0.1", port)) != 0


def _listening(pid: int) -> set[int]:
    """The ports on which a process of this Linux machine listens."""
    nodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            nodes.add(str(link.readlink()))
        except OSError:
            continue
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in nodes}
