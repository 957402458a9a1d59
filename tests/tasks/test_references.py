"""Every reference of the public benchmarks: equal to what it says in other spellings, unequal to all others.

By default formulas are sampled, to be done in seconds; `make check-graders` takes all 742,556 pairs (some minutes).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import permutations, product
from pathlib import Path
from random import Random

import pytest

from trim.tasks import load_task
from trim.tasks.comparison import last_side
from trim.tasks.formulas import differ, reader, sample
from trim.tasks.grading import Grader
from trim.tasks.spelling import number, plain

SHARED = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"
NAMES = ("math500", "olympiadbench", "minerva_math", "gsm8k", "aime", "aime:train", "aime24", "amc23")
ALL = os.environ.get("TRIM_GRADERS") == "all"
FORMULAS = None if ALL else 12  # of each benchmark, each in all its spellings
PAIRS = 8  # with formulas, of each benchmark
MORE = 10 if ALL else 1  # times the formulas of which lists are compared with single answers

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the benchmarks' files are not there")

SAME = {
    frozenset(pair)
    for pair in (
        ("8", r"8 \%"),
        ("40", "40_9"),  # the question names the base
        (r"2\sqrt{5}", r"2 \sqrt{5}"),
        ("2n", "2 n"),
        (r"\frac{N}{2}", r"\frac{n}{2}"),
        ("-2,1", "1,-2"),  # all solutions, in any order
        ("2,3,4", "2,4,3"),
        ("5", "x=5"),
        ("3", "k=3"),
        ("1", "k=1"),
        ("1", "f(x)=1"),
        ("0", "5x - 7y + 11z + 4 = 0"),  # what an expression comes to
        ("0", r"x^{\prime}+\frac{r}{V} x-r c=0"),
        ("0", r"y^{\prime}+r y-r x(t)=0"),
    )
}  # fmt: skip
"""References that say the same, but for numbers of the same value: each was looked at."""


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    pytest.importorskip("math_verify", reason="needs the math extra")
    grader = Grader()
    yield grader
    grader.close()


def references(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """The different references of a benchmark: numbers by value, and all others in a random order."""
    monkeypatch.setenv("TRIM_DATA", str(SHARED))
    task = load_task(name)
    found = sorted({question.reference or "" for question in task.questions(_size(name), 0)})
    values = {text: value for text in found if (value := number(text)) is not None}
    formulas = [text for text in found if text not in values]
    Random(1).shuffle(formulas)
    return sorted(values, key=lambda text: values[text].value), formulas


def _size(name: str) -> int:
    return {"math500": 500, "aime": 482, "aime:train": 451, "aime24": 30, "amc23": 40, "olympiadbench": 675,
            "minerva_math": 272, "gsm8k": 1319}[name]  # fmt: skip


def spellings(reference: str) -> Iterator[str]:
    """The same answer as models write it."""
    yield from (f" {reference} ", f"{reference}.", f"${reference}$", rf"\({reference}\)", f"**{reference}**")
    yield from (f"{reference}<|im_end|>", f"{reference}</s>", f"{reference}<|eot_id|>\n")
    yield reference.replace(r"\frac", r"\dfrac").replace("-", "−")
    yield re.sub(r"(?<!\\left)([(\[])", r"\\left\1", re.sub(r"(?<!\\right)([)\]])", r"\\right\1", reference))
    yield re.sub(r"\\(left|right)(?![a-z])", "", reference).replace(r"\dfrac", r"\frac")
    yield reference.replace(", ", ",").replace(" + ", "+").replace(" - ", "-")


def spellings_of_a_number(reference: str) -> Iterator[str]:
    plain = reference.replace(r"\!", "").replace(r"\$", "").replace(",", "").replace(" ", "")
    if re.fullmatch(r"-?\d+", plain):
        yield from (f"{plain}.0", f"{plain}.00", f"0 + 3 = {plain}", rf"\text{{{plain}}}", rf"x = {plain}")
        yield from (rf"\${plain}", f"${plain}", f"{plain} apples", rf"{plain}^\circ")
        yield from (rf"{plain} \text{{ cm}}", rf"{plain}\mathrm{{~m}}^2")
        for mark in (",", "{,}", r"\,", r"\!", r",\!", "\u2009", "\u202f", "\u00a0", " ", r"\ ", r"\;"):
            yield f"{int(plain):,}".replace(",", mark)
    if (power := re.fullmatch(r"(-?[\d.]+)e(-?\d+)", plain)) is not None:
        mantissa, exponent = power.groups()
        for times in (r" \times ", r"\times", r"\cdot", r" \cdot ", "×", "*", " x ", " · "):
            yield f"{mantissa}{times}10^{{{exponent}}}"
            yield f"{mantissa}{times}10^{exponent}"
        yield from (f"{mantissa}E{exponent}", f"{mantissa}e{int(exponent):+03d}", f"{mantissa}*10**{exponent}")
        yield rf"{mantissa} \times 10^{{{exponent}}} \mathrm{{~cm}}"
        yield rf"{mantissa} \times 10^{{{exponent}}}\text{{ erg s}}^{{-1}}"
    if (fraction := re.fullmatch(r"(-?)\\d?frac\{?(\d+)\}? ?\{?(\d+)\}?", plain)) is not None and "{" in plain:
        sign, above, below = fraction.groups()
        yield from (
            rf"{sign}{above}/{below}",
            rf"\frac{{{sign}{above}}}{{{below}}}",
            rf"{sign}\tfrac{{{above}}}{{{below}}}",
        )
        yield rf"{sign}\frac {{{above}}} {{{below}}}"
        yield f"{int(sign + above) / int(below):.12g}"


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_equals_its_own_spellings(name: str, grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, formulas = references(name, monkeypatch)
    written = [(text, each) for each in numbers for text in (*spellings(each), *spellings_of_a_number(each))]
    assert [pair for pair in written if number(last_side(pair[0])) is None] == []
    written += [(text, each) for each in formulas[:FORMULAS] for text in spellings(each)]
    verdicts = grader.right_all(written)
    assert [pair for pair, right in zip(written, verdicts, strict=True) if not right] == []


@cache
def value(reference: str) -> tuple[Fraction, int, bool] | str:
    """What a number says, such as 36 and 36 degrees; of anything else the text."""
    found = number(reference)
    return reference if found is None else (found.value, found.base, found.percent)


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_equals_no_other(name: str, grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as the answer to each other; by default neighbouring numbers, and some pairs with formulas one by one."""
    numbers, formulas = references(name, monkeypatch)
    if ALL:
        pairs = list(permutations([*formulas, *numbers], 2))
        verdicts = grader.right_all(pairs)
    else:
        pairs = [(one, other) for at, one in enumerate(numbers) for other in numbers[at + 1 : at + 4]]
        pairs += Random(2).sample([*permutations(formulas, 2), *product(formulas, numbers)], PAIRS if formulas else 0)
        verdicts = [grader.right(*pair) for pair in pairs]
    wrong = {
        frozenset(pair)
        for pair, right in zip(pairs, verdicts, strict=True)
        if right is not (value(pair[0]) == value(pair[1]))
    }
    print(f"{name}: {len(pairs)} pairs, {grader.timeouts} cut off so far")
    assert wrong - SAME == set()


@pytest.mark.parametrize("name", ["math500", "olympiadbench", "minerva_math"])
def test_formulas_told_apart_by_a_number_are_different_to_algebra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    math_verify = pytest.importorskip("math_verify", reason="needs the math extra")

    monkeypatch.setattr("math_verify.grader.logger.warning", lambda *told: None)
    _, formulas = references(name, monkeypatch)
    parse = reader()
    read = {text: parse(plain(text)) for text in formulas[: 4 * MORE]}
    samples = {text: sample(found[0]) for text, found in read.items() if found}
    pairs = [pair for pair in permutations(samples, 2) if differ(*(samples[text] for text in pair))]
    assert pairs
    assert [(one, other) for one, other in pairs if math_verify.verify(read[one], read[other], timeout_seconds=1)] == []


def test_a_list_gets_the_verdicts_of_single_answers(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, formulas = references("math500", monkeypatch)
    chosen = Random(4).sample(formulas, 8 * MORE)
    pairs = [(text, each) for each in chosen[:MORE] for text in spellings(each)]
    pairs += Random(4).sample([*permutations(chosen, 2), *product(chosen, numbers)], 12 * MORE)
    verdicts = grader.right_all(pairs)
    assert True in verdicts and False in verdicts
    assert verdicts == [grader.right(*pair) for pair in pairs]
