"""Grading final answers: a numeric rule, and math-verify for everything else.

math-verify runs in worker processes with a hard time limit: some answers send a computer-algebra system off for ever,
and its own time-outs use signals, which threads don't get.
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
from contextlib import suppress
from fractions import Fraction
from importlib.util import find_spec

from trim.errors import MissingExtra, TaskError

TIME_LIMIT = 5.0
"""Seconds that math-verify gets for one answer; an answer that takes longer is wrong."""

_START_LIMIT = 60.0  # seconds for a worker to import sympy
_LONGEST = 2_000  # characters of an answer that are worth parsing
_NUMBER = re.compile(r"-?(?:\d+(?:,\d{3})+|\d+)?(?:\.\d+)?(?:/\d+)?")


def final_answer(text: str) -> str | None:
    r"""What stands in the last `\boxed{...}`, or after the last `####`; None if there is neither."""
    at = text.rfind("\\boxed")
    if at >= 0 and (brace := text.find("{", at)) >= 0:
        depth = 0
        for end in range(brace, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return text[brace + 1 : end].strip()
    _, mark, rest = text.rpartition("####")
    answer = rest.strip().split("\n")[0].strip()
    return answer if mark and answer else None


def number(text: str) -> Fraction | None:
    """The exact value of a plain number such as `1,234.50`, `$12`, `3/4`, `7%` or `5.`; None if it is none."""
    plain = text.strip().strip("$€£").replace("\\$", "").replace("\\%", "").replace("%", "").strip().rstrip(".").strip()
    if len(plain) > 60 or not plain or not _NUMBER.fullmatch(plain):
        return None
    try:
        return Fraction(plain.replace(",", ""))
    except (ValueError, ZeroDivisionError):
        return None


class Grader:
    """Grades answers; starts its worker process when the first one needs it. Safe to use from several threads."""

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self.time_limit = time_limit
        self.timeouts = 0  # answers that were cut off
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def right(self, answer: str | None, reference: str) -> bool:
        """Whether an answer equals the reference; never takes much longer than the time limit.

        Raises:
            MissingExtra: reference and answer are not both plain numbers and math-verify is not installed.
            TaskError: the grading process does not start.
        """
        if answer is None or not answer.strip():
            return False
        if answer.strip() == reference.strip():
            return True
        gold, given = number(reference), number(answer)
        if gold is not None and given is not None:
            return abs(gold - given) <= Fraction(1, 10**6)
        if len(answer) > _LONGEST:
            return False
        with self._lock:
            return self._verify(answer, reference)

    def _verify(self, answer: str, reference: str) -> bool:
        worker = self._start()
        verdict = worker.ask([answer, reference], self.time_limit)
        if verdict is None:  # too slow, or the worker died of this answer
            self.timeouts += 1
            self.close()
        return verdict is True

    def _start(self) -> _Worker:
        if self._worker is not None and self._worker.alive:
            return self._worker
        self.close()
        if find_spec("math_verify") is None:
            raise MissingExtra("math-verify", "math")
        self._worker = _Worker()
        if self._worker.receive(_START_LIMIT) is not True:
            self.close()
            raise TaskError(f"the grading process did not start within {_START_LIMIT:.0f} s")
        return self._worker

    def close(self) -> None:
        """Stop the worker."""
        if self._worker is not None:
            self._worker.kill()
        self._worker = None


class _Worker:
    """A grading process, spoken to in JSON lines.

    A subprocess and not `multiprocessing`: that runs the caller's main script again in the child, so a script without
    a main guard, or one from standard input, could not grade.
    """

    def __init__(self) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from trim.tasks.grading import _work; _work()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # math-verify warns there about every answer
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("null")  # the end: whoever waits need not wait longer

    def receive(self, seconds: float) -> object:
        """The next value; None if it does not come in time."""
        try:
            return json.loads(self._lines.get(timeout=seconds))
        except queue.Empty:
            return None

    def ask(self, message: list[str], seconds: float) -> object:
        """The answer to a message; None if it does not come in time or the process dies."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError:
            return None
        return self.receive(seconds)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was still to be written went nowhere
                    stream.close()


def _work() -> None:
    """The worker: answers true or false to [answer, reference] until its input ends."""
    from math_verify import parse, verify

    out, sys.stdout = sys.stdout, sys.stderr  # nothing that a library prints may look like a verdict
    print("true", file=out, flush=True)
    for line in sys.stdin:
        answer, reference = json.loads(line)
        try:
            gold, given = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (reference, answer))
            right = bool(verify(gold, given, timeout_seconds=None))
        except Exception:  # an answer that cannot be read is wrong, whatever the parser says about it
            right = False
        print(json.dumps(right), file=out, flush=True)
