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


def test_pathological_answers_end(grader: Grader) -> None:
    answers = [
        "9^{9^{9^{9}}}", "10^{10^{10}}", "1e999", r"\frac{1}{0}", "{" * 500, r"\boxed{" * 50, "\\" * 300, "\x00", "٣",
        r"\int_0^\infty e^{-x^2}dx" * 40, "x" * 100_000, "(" * 1000 + ")" * 1000, "1/0", "nan", "inf", "=" * 50,
        r"\sqrt{" * 100 + "2" + "}" * 100, "factorial(10**10)", "10**10**10", "__import__('os').system('true')",
    ]  # fmt: skip
    quick = Grader(time_limit=1.5)
    started = time.monotonic()
    for answer in answers:
        assert quick.right(answer, r"\frac{7}{3}") is False
    assert time.monotonic() - started < 180  # a hang would be for ever; starting workers anew takes seconds
    assert quick.right(r"\frac{14}{6}", r"\frac{7}{3}") is True
    quick.close()


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
