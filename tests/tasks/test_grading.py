"""Grading never hangs, and agrees with what a person would say."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from trim.errors import MissingExtra, TaskError
from trim.tasks.grading import Grader, final_answer, number


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    pytest.importorskip("math_verify", reason="needs the math extra")
    grader = Grader()
    yield grader
    grader.close()


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("42", "42", True),
        ("42.0", "42", True),
        ("$1,234", "1234", True),
        ("1234.50", "1,234.5", True),
        ("5.", "5", True),
        ("7%", "7", True),
        ("3/4", "0.75", True),
        ("-3", "3", False),
        ("41", "42", False),
        (None, "42", False),
        ("", "42", False),
        ("1,23", "123", False),
    ],
)
def test_plain_numbers(answer: str | None, reference: str, right: bool) -> None:
    grader = Grader()
    if number(answer or "") is not None or not answer:
        assert grader.right(answer, reference) is right
    else:
        assert number(answer) is None


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        (r"\frac{1}{2}", "0.5", True),
        (r"\frac{3}{4}", r"\frac{6}{8}", True),
        (r"2\sqrt{3}", r"\sqrt{12}", True),
        ("x^2+1", "1+x^2", True),
        (r"\frac{1}{3}", r"\frac{1}{2}", False),
        ("(1,2)", "(1, 2)", True),
        (r"\text{Evelyn}", "Evelyn", True),
    ],
)
def test_expressions(grader: Grader, answer: str, reference: str, right: bool) -> None:
    assert grader.right(answer, reference) is right


PATHOLOGICAL = [
    "9^{9^{9^{9}}}", "10^{10^{10}}", "1e999", r"\frac{1}{0}", "{" * 500, r"\boxed{" * 50, "\\" * 300, "\x00", "٣",
    r"\int_0^\infty e^{-x^2}dx" * 40, "x" * 100_000, "(" * 1000 + ")" * 1000, "1/0", "nan", "inf", "=" * 50,
    r"\sqrt{" * 100 + "2" + "}" * 100, "factorial(10**10)", "10**10**10", "__import__('os').system('true')", "100000!",
    "(10^8)!", r"\binom{10^9}{10^8}", "2^{10^{12}}", r"\sum_{n=1}^{10^{12}} \frac{1}{n}", r"\prod_{k=1}^{10^9} k",
    r"\left(" * 200, "1," * 900, r"x^{x^{x^{x^{x^{x}}}}}", r"\sin(\sin(\sin(\sin(10^{400}))))", "0." + "3" * 1900,
    "9" * 1999, r"\frac{" * 300, r"\infty-\infty", r"\lim_{x\to0}\frac{\sin x}{x}", "a=b=c=d=e=f", "½", "𝟕",
    "\u202e7/3",
    r"\begin{pmatrix}" + r"1&2\\" * 200 + r"\end{pmatrix}", "#### " * 100, "$" * 1001, r"\text{" + "a" * 1500 + "}",
    r"(x+1)^{5000}", r"\left\{x \mid x>0\right\}", "1 2 3 4 5 6 7 8 9" * 50, r"\frac{d}{dx}x^{10^{9}}",
    "e^{e^{e^{e^{10}}}}",
    r"\log_{0}{0}", "x^y^z^w^v" * 80, r"\cos^{-1}(2)^{10^{7}}", "-" * 1999 + "7",
]  # fmt: skip


def test_pathological_answers_end_within_a_minute(grader: Grader) -> None:
    assert len(PATHOLOGICAL) >= 50
    assert grader.right(r"\frac{14}{6}", r"\frac{7}{3}")  # the worker is up
    started = time.monotonic()
    for answer in PATHOLOGICAL:
        assert grader.right(answer, r"\frac{7}{3}") is False
    assert time.monotonic() - started < 60
    assert grader.right(r"\frac{14}{6}", r"\frac{7}{3}")
    assert grader.timeouts > 0


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2}", "2"),
        ("a\n#### 12\nb", "12"),
        ("#### ", None),
        (r"\boxed{unfinished", None),
        ("nothing", None),
    ],
)
def test_final_answers(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_a_script_without_a_main_guard_can_grade() -> None:
    pytest.importorskip("math_verify", reason="needs the math extra")
    script = "from trim.tasks.grading import Grader\ng = Grader()\nprint(g.right('2x', 'x+x'))\ng.close()\n"
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "True"
    assert done.stderr == ""


def test_a_missing_extra_and_a_dead_process_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trim.tasks.grading.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="math"):
        Grader().right("2x", "x+x")
    monkeypatch.undo()
    monkeypatch.setattr("trim.tasks.grading.sys.executable", "/bin/true")
    with pytest.raises(TaskError, match="did not start"):
        Grader().right("2x", "x+x")
