"""Steps: where they end, whatever the pieces in which a text arrives, and which one has the answer."""

from __future__ import annotations

import os
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trim.errors import ConfigError
from trim.steps import Cutter, Separator, StepFormat, is_degenerate

CASES = int(os.environ.get("TRIM_FUZZ", "300"))
"""Of each property; TRIM_FUZZ=10000 takes some minutes."""
thoroughly = settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXTS = {
    Separator.BLANK_LINE: ("a\nb\n \nc\n\n\nd", ("a\nb\n \n", "c\n\n", "\nd")),
    Separator.NEWLINE: ("a\n\nb\nc\n", ("a\n", "\nb\n", "c\n")),
    Separator.NUMBERED: (
        "1. one\nmore\n2) two\nStep 3: three 4. not",
        ("1. one\nmore\n", "2) two\n", "Step 3: three 4. not"),
    ),
    Separator.SENTENCE: ("It is 1.5. So? Yes! done", ("It is 1.5. ", "So? ", "Yes! ", "done")),
}
PIECES = [
    *"ab1.!?|`$-_*#>:\\", " ", "\t", "\n", "\n\n", "\r\n", "\r", "\f", "\v", "\u2028", "\u00a0", "\ufffd", "\u0301",
    "```", "````python\n", "~~~", "    ```", "$$", "\\[", "\\]", "\\begin{x}", "\\end{x}", "\\$$", "\\\\[2pt]",
    "|---|---|\n", "| a | b |\n", "### H\n", "#### 5", "**Step 2: B**\n", "Step 3: ", "1. ", "2) ", "- ", "> ", "e.g. ",
    "One. ", "word ", "`x", "\\boxed{", "\N{THUMBS UP SIGN}",
]  # fmt: skip


def pieces_of(text: str, sizes: list[int]) -> list[str]:
    """The text in chunks of these sizes, the last one as long as it takes."""
    chunks, at = [], 0
    for size in sizes:
        chunks.append(text[at : at + size])
        at += size
    return [*chunks, text[at:]]


@pytest.mark.parametrize("separator", Separator)
def test_a_text_is_split_at_its_separator(separator: Separator) -> None:
    text, steps = TEXTS[separator]
    assert StepFormat(separator).split(text) == steps


@thoroughly
@given(st.sampled_from(Separator), st.lists(st.sampled_from(PIECES), max_size=40), st.lists(st.integers(0, 9)))
def test_steps_are_the_text_and_do_not_depend_on_how_it_arrives(
    separator: Separator, parts: list[str], sizes: list[int]
) -> None:
    text, form = "".join(parts), StepFormat(separator)
    whole, cutter = Cutter(form), Cutter(form)
    steps = whole.feed(text)
    assert "".join((*steps, whole.rest())) == text
    assert [step for chunk in pieces_of(text, sizes) for step in cutter.feed(chunk)] == steps
    assert (cutter.rest(), cutter.length) == (whole.rest(), len(whole.rest()))
    assert not any(map(is_degenerate, steps))
    assert "".join(form.split(text)) == text
    # Nor on what was written before: a stream that is opened behind a step cuts the same.
    for done in range(1, len(steps) + 1):
        assert Cutter(form).feed(text[sum(map(len, steps[:done])) :]) == steps[done:]


LINES = st.sampled_from(
    ["", "  ", "x = 1", "\treturn x", "1. one", "Step 2: so", "Is it? Yes. No", "| a |", "# c", "$$ `"]
)
BODIES = st.lists(LINES, min_size=1, max_size=6).map("\n".join)
FORMULAS = st.lists(st.sampled_from(["", "x &= 1. So", "\\\\[2pt]", "1. y", "\\text{a}"]), min_size=1).map("\n".join)
FENCES = st.sampled_from(["```", "~~~", "````", "  ```", "1. ```"])
STRUCTURES = st.one_of(
    st.builds(lambda fence, body: f"{fence}py\n{body}\n{fence.removeprefix('1. ')}\n", FENCES, BODIES),
    st.builds("\\[\n{}\n\\]\n".format, FORMULAS),
    st.builds("So $${}$$\n".format, FORMULAS),
    st.builds("\\begin{{a}}\n\\begin{{b}}\n{}\n\\end{{b}}\n\\end{{a}}\n".format, FORMULAS),
    st.lists(st.sampled_from(["| 1. a | b. C |\n", "| ` | - |\n"]), min_size=1).map(
        lambda rows: "".join([rows[0], "|---|:-:|\n", *rows])
    ),
    st.sampled_from(["### Why? So\n\n", "**Step 2: Add**\n\n", "Step 3:\n\n", "1.\n\n"]).map(
        lambda line: line + "Text"
    ),
)
BETWEEN = st.sampled_from(
    ["\n", "\n\n", "\r\n\r\n", " \n\t\n", "Text. ", "More text.\n", "1. Item\n", "use `\\[` or `$$`\n"]
)


@thoroughly
@given(st.sampled_from(Separator), st.lists(st.tuples(BETWEEN, STRUCTURES), min_size=1, max_size=4))
def test_no_step_ends_inside_a_structure(separator: Separator, blocks: list[tuple[str, str]]) -> None:
    text, inside = "", set[int]()
    for between, block in blocks:
        text += f"{between}\n" if between[-1:] == " " else between
        inside |= set(range(len(text) + 1, len(text) + len(block)))
        text += block + "\n"
    cutter, end = Cutter(StepFormat(separator)), 0
    for step in cutter.feed(text):
        end += len(step)
        assert end not in inside, f"cut after {text[:end]!r}"


@pytest.mark.parametrize(
    ("separator", "text", "steps"),
    [
        (Separator.BLANK_LINE, "a\r\n\r\nb\r\n\t\r\nc", ("a\r\n\r\n", "b\r\n\t\r\n", "c")),
        (Separator.BLANK_LINE, "\n\n  a\n\n\n\n  b\n\n \n", ("\n\n  a\n\n", "\n\n  b\n\n \n")),
        (Separator.BLANK_LINE, "a\u2028\n\u2028\nb", ("a\u2028\n\u2028\n", "b")),
        (Separator.BLANK_LINE, "a\n\n```\nb\n\nc\n```\n\nd", ("a\n\n", "```\nb\n\nc\n```\n\n", "d")),
        (Separator.BLANK_LINE, "a\n\n```\nb\n\nc", ("a\n\n", "```\nb\n\nc")),
        (Separator.BLANK_LINE, "### A\n\nb\n\n**Step 2: C**\n\nd", ("### A\n\nb\n\n", "**Step 2: C**\n\nd")),
        (Separator.BLANK_LINE, "a\n### B\n\nc\n\nd", ("a\n### B\n\nc\n\n", "d")),
        (Separator.BLANK_LINE, "#### 42\n\nb", ("#### 42\n\n", "b")),
        (Separator.BLANK_LINE, "a\n\n---\n\nb", ("a\n\n", "---\n\nb")),
        (
            Separator.NEWLINE,
            "a\n| b |\n|---|\n| c |\nd\n| e |\nf\n",
            ("a\n", "| b |\n|---|\n| c |\n", "d\n", "| e |\n", "f\n"),
        ),
        (Separator.NEWLINE, "a\n$$\nb\n$$\nc", ("a\n", "$$\nb\n$$\n", "c")),
        (Separator.NUMBERED, "a\n\n### B\n1. c\n\n  2. d", ("a\n\n", "### B\n1. c\n\n", "  2. d")),
        (Separator.NUMBERED, "a\n**2. b**\nc", ("a\n", "**2. b**\nc")),
        (
            Separator.SENTENCE,
            "1. One, e.g. two. 3.14 is\nStep 2. Three. ",
            ("1. One, e.g. two. ", "3.14 is\nStep 2. Three. "),
        ),
        (Separator.SENTENCE, "### Why? So\nA.  B.\r\nC.", ("### Why? So\nA. ", " B.\r\n", "C.")),
    ],
)
def test_where_steps_end(separator: Separator, text: str, steps: tuple[str, ...]) -> None:
    assert StepFormat(separator).split(text) == steps


def test_white_space_alone_is_a_step_only_where_there_is_no_other() -> None:
    assert StepFormat().split("") == ()
    assert StepFormat().split("\n \n") == ("\n \n",)
    assert StepFormat().split("a\n\n\n") == ("a\n\n\n",)


TEDIOUS = ["\n" * 20_000, "x" * 1_000_000, "e.g. " * 50_000, "`` ` " * 50_000, "\\[\\begin{a}$$" * 60_000]


@pytest.mark.parametrize("separator", Separator)
@pytest.mark.parametrize("text", TEDIOUS, ids=len)
def test_time_grows_with_the_text_alone(separator: Separator, text: str) -> None:
    started = time.process_time()
    for size in (len(text), 50):
        cutter = Cutter(StepFormat(separator))
        for at in range(0, len(text), size):
            cutter.feed(text[at : at + size])
    assert time.process_time() - started < 5  # 0.2 as a rule; hours if each chunk read the text again


@settings(max_examples=max(10, CASES // 10), deadline=None)
@given(
    st.sampled_from(Separator),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join),
)
def test_a_text_that_is_twice_as_long_takes_twice_the_calls(separator: Separator, unit: str) -> None:
    def calls(times: int) -> int:
        made = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        cutter = Cutter(StepFormat(separator))
        sys.setprofile(count)
        try:
            for _ in range(times):
                cutter.feed(unit)
        finally:
            sys.setprofile(None)
        return made

    few, more, most = calls(25), calls(50), calls(100)
    assert most - more <= 2.5 * (more - few) + 100


def test_what_judges_read_between_steps_and_what_servers_stop_at() -> None:
    assert [StepFormat(separator).joiner for separator in Separator] == ["\n\n", "\n", "\n", " "]
    assert [StepFormat(separator).stop for separator in Separator] == ["\n\n", "\n", None, None]


@pytest.mark.parametrize(
    "text",
    ["#### 42", "x\n#### y", "so $\\boxed {3}$", "\\fbox{7}", "\\boxed 7", "\\boxed{5} and \\boxed{", "#### Answer: 3",
     "Maybe \\boxed{5}?</think> No: \\boxed{7}", "\\boxed{\\frac{1}{2}}"],
)  # fmt: skip
def test_final_answers_are_recognised(text: str) -> None:
    assert StepFormat().has_answer(text)


@pytest.mark.parametrize(
    "text",
    ["#### ", "#### Step 1: Read", "#### Solution\n\nWe add.", "I will put it in \\boxed{}.", "Use \\boxed for it.",
     "It goes into \\boxed{your answer}", "\\boxed{5", "<think> Maybe \\boxed{5}?", "<think> \\boxed{5}? </think> So",
     "The final answer is 5", "\\boxed{\\text{}}", "## 5"],
)  # fmt: skip
def test_what_only_looks_like_a_final_answer(text: str) -> None:
    assert not StepFormat().has_answer(text)


def test_reasoning_that_earlier_steps_have_opened_holds_no_answer() -> None:
    assert not StepFormat().has_answer("\\boxed{5}", "<think> So\n\n")
    assert StepFormat().has_answer("</think> \\boxed{7}", "<think> So\n\n")
    assert StepFormat().has_answer("\\boxed{5}", "<think> So\n\n</think>\n\n")


def test_answer_patterns() -> None:
    assert StepFormat(answer="DONE").has_answer("I am DONE.")
    assert not StepFormat(answer="DONE").has_answer("<think>I am DONE.")
    assert not StepFormat(answer=None).has_answer("#### 42")
    with pytest.raises(ConfigError, match="not a valid regular expression"):
        StepFormat(answer="(")


def test_steps_without_a_word_are_degenerate() -> None:
    assert all(map(is_degenerate, ("", "---", "$ =")))
    assert not any(map(is_degenerate, ("a", "=1", "é")))
