"""Grading final answers: a numeric rule, and math-verify for everything else.

math-verify runs in a worker process that forks a child for each answer or list of answers, with a hard limit on time
and memory: some answers keep a computer-algebra system busy for ever, and its own time-outs use signals, which threads
don't get.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from importlib.util import find_spec

from trim.errors import MissingExtra, TaskError
from trim.tasks.comparison import last_side, same
from trim.tasks.formulas import Sample, differ, reader, sample
from trim.tasks.spelling import Number, number, plain

TIME_LIMIT = 2.0
"""Seconds of computing that math-verify gets for one answer (it takes 0.01 as a rule); one that takes more is wrong."""

_PATIENCE = 2  # times these seconds that may pass on a busy machine
_GRACE = 10.0  # seconds after which the worker itself counts as hung; its children it ends in time
_MEMORY = 4 << 30  # bytes that one answer may take
_START_LIMIT = 60.0  # seconds for a worker to import sympy
_LONGEST = 200  # characters that an answer may have beyond four times those of its reference to be worth parsing
_DEEPEST = 20  # brackets in brackets that are worth parsing: the parser's time is exponential in them
_WARM_UP = (
    r"\frac{1}{2}",
    r"x^2 + 2\sqrt{3} - y_1",
    r"\arcsin(\frac{1}{3})",
    r"(1, 2)",
    r"\left[0, \infty\right)",
    r"\text{Eve}",
    "1.5, 7",
    r"\{1\}",
)


def _depth(text: str) -> int:
    """The depth of nested brackets."""
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _at_once(answer: str | None, reference: str) -> bool | None:
    """Whether an answer equals the reference; None if formulas have to be compared to say so."""
    if answer is None or not answer.strip():
        return False
    if answer.strip() == reference.strip():
        return True
    if len(answer) > _LONGEST + 4 * len(reference) or _depth(answer) > _DEEPEST:
        return False
    gold, given = number(reference), number(last_side(plain(answer)))
    return None if gold is None or given is None else given.equals(gold)


class Grader:
    """Grades answers; starts its worker process when the first one needs it. Safe to use from several threads."""

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self.time_limit = time_limit
        self.timeouts = 0  # answers that were cut off
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def right(self, answer: str | None, reference: str) -> bool:
        """Whether an answer equals the reference; never takes much longer than twice the time limit.

        Raises:
            MissingExtra: reference and answer are not both plain numbers and math-verify is not installed.
            TaskError: the grading process does not start.
        """
        return self.right_all([(answer, reference)])[0]

    def right_all(self, pairs: Sequence[tuple[str | None, str]]) -> list[bool]:
        """Whether each answer equals the reference it comes with.

        Each has the time limit of a single one, and the same verdict. Many take less time together: a formula that is
        in several of them is read once.
        """
        verdicts = [_at_once(*pair) for pair in pairs]
        left = [at for at, verdict in enumerate(verdicts) if verdict is None]
        if left:
            with self._lock:
                formulas = [(plain(pairs[at][0] or ""), plain(pairs[at][1])) for at in left]
                for at, verdict in zip(left, self._verify(formulas), strict=True):
                    verdicts[at] = verdict
        return [verdict is True for verdict in verdicts]

    def prepare(self) -> None:
        """Say now what the first answer would be refused for.

        Raises:
            MissingExtra: math-verify is not installed.
        """
        if find_spec("math_verify") is None:
            raise MissingExtra("math-verify", "math")

    def _verify(self, pairs: list[tuple[str, str]]) -> Iterator[bool]:
        done = 0
        while done < len(pairs):
            worker = self._start()
            worker.tell([pairs[done:], self.time_limit])
            verdict: object = True
            while done < len(pairs) and verdict is not None:
                verdict = worker.receive(_PATIENCE * self.time_limit + _GRACE)
                if not isinstance(verdict, bool):  # too slow, or it died of this answer
                    self.timeouts += 1
                if verdict is None:
                    self.close()
                done += 1
                yield verdict is True

    def _start(self) -> _Worker:
        if self._worker is not None and self._worker.alive:
            return self._worker
        self.close()
        self.prepare()
        self._worker = _Worker()
        if self._worker.receive(_START_LIMIT) is not True:
            self.close()
            raise TaskError(f"the grading process did not start within {_START_LIMIT:.0f} s")
        return self._worker

    def close(self) -> None:
        """Stop the worker process; a later answer starts another one."""
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
        self._lines.put("null")  # the end, so that a waiting call returns

    def receive(self, seconds: float) -> object:
        """The next value; None if it does not come in time."""
        try:
            return json.loads(self._lines.get(timeout=seconds))
        except queue.Empty:
            return None

    def tell(self, message: object) -> None:
        """Send a message; if the process is dead, what is received next says so."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was still to be written went nowhere
                    stream.close()


def _work() -> None:
    """The worker: answers true, false or "ended" to each pair of [pairs, seconds] until its input ends."""
    from math_verify import verify
    from sympy import Expr, N

    read = reader()

    @cache
    def value(text: str) -> Number | None:
        formula = read(text)
        if not formula or not isinstance(formula[0], Expr) or not formula[0].is_number or not formula[0].is_real:
            return None
        try:
            return Number(Fraction(str(N(formula[0], 30))))
        except ValueError:  # infinite, or not a number
            return None

    @cache
    def sampled(text: str) -> Sample:
        return sample(next(iter(read(text)), None))

    def leaf(answer: str, reference: str) -> bool:
        gold_value, given_value = value(reference), value(answer)
        if gold_value is not None and given_value is not None:
            return given_value.equals(number(reference) or gold_value)
        if differ(sampled(reference), sampled(answer)):
            return False
        return bool(verify(read(reference), read(answer), timeout_seconds=None))

    def right(answer: str, reference: str) -> bool:
        try:
            return same(answer, reference, leaf)
        except Exception:  # an answer that cannot be read is wrong, whatever the parser says about it
            return False

    out, sys.stdout = sys.stdout, sys.stderr  # nothing that a library prints may look like a verdict
    for text in _WARM_UP:  # the parser builds its tables as it meets things; children inherit what is built
        leaf(text, text)
    print("true", file=out, flush=True)
    for line in sys.stdin:
        pairs, seconds = json.loads(line)
        left = deque(pairs)
        while left:  # again for the rest, if one ended its child
            for verdict in _in_child(right, list(left), seconds):
                print(json.dumps("ended" if verdict is None else verdict), file=out, flush=True)
                left.popleft()


def _in_child(right: Callable[[str, str], bool], pairs: list[tuple[str, str]], seconds: float) -> Iterator[bool | None]:
    """What a forked child says of each pair; None, the last, of one that took too long or that it died of.

    A fork has everything imported already.
    """
    if not hasattr(os, "fork"):  # Windows: the parent process ends this one in time
        yield from (right(*pair) for pair in pairs)
        return
    import resource

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)  # so that writing fails when the parent is dead
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            for pair in pairs:
                signal.setitimer(signal.ITIMER_PROF, seconds)  # ends the child, even if its parent is dead
                os.write(writer, b"1" if right(*pair) else b"0")
        finally:
            os._exit(0)
    os.close(writer)
    for _ in pairs:
        ready, _, _ = select.select([reader], [], [], _PATIENCE * seconds)
        said = {b"1": True, b"0": False}.get(os.read(reader, 1) if ready else b"")
        yield said
        if said is None:
            break
    os.close(reader)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
