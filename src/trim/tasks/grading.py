"""Grading final answers: a numeric rule, and math-verify for everything else.

math-verify runs in worker processes with a hard time limit: some answers send a computer-algebra system off for ever,
and its own time-outs use signals, which threads don't get.
"""

from __future__ import annotations

import multiprocessing
import re
import threading
from fractions import Fraction
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from trim.errors import MissingExtra

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
        self._worker: BaseProcess | None = None
        self._connection: Connection | None = None

    def right(self, answer: str | None, reference: str) -> bool:
        """Whether an answer equals the reference; never takes much longer than the time limit.

        Raises:
            MissingExtra: the reference is no plain number and math-verify is not installed.
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
        connection = self._start()
        try:
            connection.send((answer, reference))
            if connection.poll(self.time_limit):
                return bool(connection.recv())
            self.timeouts += 1
        except (EOFError, OSError):  # the worker died of this answer
            self.timeouts += 1
        self.close()
        return False

    def _start(self) -> Connection:
        if self._connection is not None and self._worker is not None and self._worker.is_alive():
            return self._connection
        self.close()
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._worker = context.Process(target=_work, args=(theirs,), daemon=True)
        self._worker.start()
        theirs.close()
        try:
            ready = self._connection.poll(_START_LIMIT) and self._connection.recv()
        except EOFError:
            ready = False
        if not ready:
            self.close()
            raise MissingExtra("math-verify", "math")
        return self._connection

    def close(self) -> None:
        """Stop the worker."""
        if self._connection is not None:
            self._connection.close()
        if self._worker is not None:
            self._worker.kill()
            self._worker.join()
            self._worker.close()
        self._worker = self._connection = None


def _work(connection: Connection) -> None:
    """The worker: answers True or False to (answer, reference) until it is killed."""
    try:
        from math_verify import parse, verify
    except ImportError:
        connection.send(False)
        return
    connection.send(True)
    while True:
        try:
            answer, reference = connection.recv()
        except EOFError:
            return
        try:
            gold, given = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (reference, answer))
            connection.send(bool(verify(gold, given, timeout_seconds=None)))
        except Exception:  # an answer that cannot be read is wrong, whatever the parser says about it
            connection.send(False)
