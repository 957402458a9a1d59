"""The format of steps: what separates two of them, and what a final answer looks like.

A step is a slice of what a model wrote, the separator behind it included: joined, the steps are the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from trim.answer_marks import marked_answer
from trim.errors import ConfigError
from trim.structures import Structure, has_word, is_heading
from trim.visible_text import reasons, unmarked, visible


class Separator(StrEnum):
    """What separates two steps of a text."""

    BLANK_LINE = "blank-line"
    NEWLINE = "newline"
    NUMBERED = "numbered"  # "1. ..." / "2) ..." / "Step 3: ..." at the start of a line
    SENTENCE = "sentence"


_JOINERS = {Separator.BLANK_LINE: "\n\n", Separator.SENTENCE: " "}  # the others: a line break
_STOPS = {Separator.BLANK_LINE: "\n\n", Separator.NEWLINE: "\n"}

MARKED = "marked"
"""`StepFormat.answer`: final answers as the common benchmarks mark them, in a box or behind `####`."""


@dataclass(frozen=True)
class StepFormat:
    """How a solution is split into steps, and how its end is recognised.

    Args:
        separator: what stands between two steps.
        answer: a regular expression that a step with the final answer matches, which ends the solution; `MARKED`: a box
            with something in it or `#### 42`, see `trim.answer_marks`; None: only the model ends it.
        reasoning: "steps": text inside reasoning is cut like any other; "one-step": it is a single step.

    Raises:
        ConfigError: `answer` is not a valid regular expression.
    """

    separator: Separator = Separator.BLANK_LINE
    answer: str | None = MARKED
    reasoning: Literal["steps", "one-step"] = "steps"

    def __post_init__(self) -> None:
        try:
            re.compile(self.answer or "")
        except re.error as error:
            raise ConfigError(f"answer pattern {self.answer!r} is not a valid regular expression: {error}") from None

    @property
    def joiner(self) -> str:
        """What judges read between two steps, such as a blank line: steps are judged without the white space around
        them.
        """
        return _JOINERS.get(self.separator, "\n")

    @property
    def stop(self) -> str | None:
        """The stop string for servers; None where only the client can find the end of a step."""
        return _STOPS.get(self.separator)

    def split(self, text: str) -> tuple[str, ...]:
        """The steps of a finished text, which is their concatenation."""
        cutter = Cutter(self)
        steps = [*cutter.feed(text), cutter.rest()]
        end = steps.pop() if len(steps) == 1 or not steps[-1].strip() else ""
        return (*steps[:-1], steps[-1] + end) if steps else tuple(filter(None, [end]))

    def has_answer(self, step: str, before: str = "", *, reasoning: bool = False) -> bool:
        """Whether this step contains a final answer and so ends the solution.

        Args:
            step: its text.
            before: the text of the steps before it. What is written inside reasoning is no answer.
            reasoning: the step begins inside reasoning, whatever stands before it.
        """
        if self.answer is None:
            return False
        said = visible(step, reasoning=reasoning or reasons(before))
        if self.answer == MARKED:
            return marked_answer(said) is not None
        return re.search(self.answer, said) is not None  # re caches the compiled pattern


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A separator that ends no step: `at` is where it ends, in characters of the text, `by` what keeps it from that."""

    at: int
    by: str


_NO_WORD = "no letter or digit yet"


def is_degenerate(step: str) -> bool:
    """Whether a step contains no letter or digit, such as "" or "---"."""
    return not has_word(unmarked(step))


class Cutter:
    """Splits a growing text into steps.

    A step ends right behind the first separator that follows a word, where no code block, LaTeX display or table goes
    on and the newest line is no heading: that belongs to what follows, as does a step without a word. How the text
    arrives in pieces makes no difference, nor does what was written before the step.

    Args:
        step_format: how the text is cut.
        reasoning: it begins inside reasoning.
        held: is given every separator that ends no step.
    """

    def __init__(
        self, step_format: StepFormat, *, reasoning: bool = False, held: Callable[[HeldBack], None] | None = None
    ) -> None:
        whole = _Reasoning(step_format.reasoning == "one-step", reasoning)
        self._cutter: _LineCutter | _SentenceCutter = (
            _SentenceCutter(whole, held)
            if step_format.separator is Separator.SENTENCE
            else _LineCutter(step_format.separator, whole, held)
        )

    @property
    def length(self) -> int:
        """Characters of the step that is not complete yet."""
        return self._cutter.length

    def feed(self, text: str) -> list[str]:
        """Add text and return the steps that it completed, in order."""
        if not text:
            return []
        self._cutter.length += len(text)
        steps = list(self._cutter.feed(text))
        self._cutter.length -= sum(map(len, steps))
        return steps

    def rest(self) -> str:
        """The last step, which may still be incomplete; white space alone is the end of the step before."""
        return self._cutter.rest()


def _lines(text: str) -> Iterator[str]:
    """The text cut behind each line feed, and there alone."""
    start = 0
    while (end := text.find("\n", start) + 1) > 0:
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


class _Reasoning:
    """Whether text stands inside reasoning that is not cut. Read line by line."""

    def __init__(self, whole: bool, inside: bool) -> None:
        self._whole = whole
        self._inside = inside

    @property
    def open(self) -> bool:
        return self._whole and self._inside

    def goes_on(self, head: str) -> bool:
        """Whether the same holds behind the head of the next line."""
        return self._whole and reasons(head, reasoning=self._inside)

    def read(self, line: str) -> None:
        if self._whole:
            self._inside = reasons(line, reasoning=self._inside)


_MARKER = re.compile(r"\s*(?:#{1,6}\s+)?(?:\*\*|__)?(?:[Ss]tep\s+)?\d{1,3}\s*[.):]\s")
_MARKER_LENGTH = 60  # characters of a line in which a marker is looked for


class _LineCutter:
    """Cuts between lines. Only whole lines count, but for the number that a line may begin with."""

    def __init__(
        self, separator: Separator, reasoning: _Reasoning, held: Callable[[HeldBack], None] | None = None
    ) -> None:
        self.length = 0
        self._held = held
        self._seen = 0  # characters of all whole lines
        self._reasoning = reasoning
        self._separator = separator
        self._line: list[str] = []  # pieces of the line that is not complete
        self._line_length = 0
        self._begin([])

    def _begin(self, lines: list[str]) -> None:
        """Begin a step with these lines: none, or headings."""
        self._lines = lines
        self._joined, self._joined_lines = "", 0  # the first lines as one text, for `rest`
        self._structure = Structure()
        self._word = any(has_word(unmarked(line)) for line in lines)
        self._headings = 0 if lines else None  # where the headings that end the step begin, as an index of its lines
        self._due = False  # the step ends here unless the next line goes on with a table

    def rest(self) -> str:
        self._joined += "".join(self._lines[self._joined_lines :])
        self._joined_lines = len(self._lines)
        self._line = ["".join(self._line)]
        return self._joined + self._line[0]

    def feed(self, text: str) -> Iterator[str]:
        for piece in _lines(text):
            self._line.append(piece)
            self._line_length += len(piece)
            if piece.endswith("\n"):
                line = "".join(self._line)
                yield from self._before(line)
                self._line, self._line_length = [], 0
                yield from self._read(line)
            elif self._line_length - len(piece) < _MARKER_LENGTH and not self._structure.may_be_table:
                yield from self._before("".join(self._line))

    def _before(self, line: str) -> Iterator[str]:
        """Whether the step ends before this line, which may not be complete."""
        if self._due and not self._structure.continues(line):
            yield self._cut(len(self._lines))
        elif self._due and line.endswith("\n"):
            self._hold("table")
        elif self._separator is Separator.NUMBERED and self._word and _MARKER.match(line, 0, _MARKER_LENGTH):
            end = len(self._lines) if self._headings is None else self._headings
            by = "reasoning" if self._reasoning.open else self._structure.kind
            by = by or ("table" if self._structure.continues(line) else "" if end else "heading")
            if not by:
                yield self._cut(end)
            elif line.endswith("\n"):
                self._hold(by)

    def _hold(self, by: str) -> None:
        if self._held is not None and (by != _NO_WORD or any(line.strip() for line in self._lines)):
            self._held(HeldBack(self._seen, by))

    def _obstacle(self) -> str:
        """What keeps the step from ending behind its newest line; empty: nothing."""
        if self._reasoning.open:
            return "reasoning"
        if self._structure.open:
            return self._structure.kind
        if not self._word:
            return _NO_WORD
        return "" if self._headings is None else "heading"

    def _read(self, line: str) -> Iterator[str]:
        self._lines.append(line)
        self._seen += len(line)
        structure, blank = self._structure, line.isspace()
        inside = structure.open
        structure.read(line)
        self._reasoning.read(line)
        if not blank:
            heading = not inside and not structure.open and is_heading(line)
            if not heading:
                self._headings = None
            elif self._headings is None and self._word:
                self._headings = len(self._lines) - 1
            elif self._headings is None:
                self._headings = 0
            self._word = self._word or has_word(unmarked(line))
        if self._separator is Separator.NUMBERED or not (blank or self._separator is Separator.NEWLINE):
            return
        if obstacle := self._obstacle():
            self._hold(obstacle)
        elif self._separator is Separator.NEWLINE and structure.may_be_table:
            self._due = True
        else:
            yield self._cut(len(self._lines))

    def _cut(self, end: int) -> str:
        step = "".join(self._lines[:end])
        self._begin(self._lines[end:])
        return step


_END = re.compile(r"[.!?](?=\s)")
_QUIET = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+|>[ \t]*)*(?:`{3}|~{3}|#{1,6}\s|\|)")
_NUMBER = re.compile(
    r"(?i)\s*(?:#{1,6}\s+)?(?:[-*+>]\s+)*(?:\*\*|__)?(?:(?:step|part|case|phase|stage|section)\s+)?\d{1,3}\.\Z"
)
_ABBREVIATION = re.compile(
    r"(?i)(?<!\w)(?:e\.g|i\.e|e|cf|vs|approx|resp|ca|al|mr|mrs|ms|dr|prof|st|figs?|eqs?|secs?|thm)\.\Z"
)
_LAST_SPACE = re.compile(r"(?s).*\s")
_VISIBLE = re.compile(r"\S")
_LONGEST = 10  # characters of an abbreviation
_HEAD = 200  # characters at the start of a line that say what kind of line it is


class _SentenceCutter:
    """Cuts between sentences. Text counts once its word is complete."""

    def __init__(self, reasoning: _Reasoning, held: Callable[[HeldBack], None] | None = None) -> None:
        self.length = 0
        self._reasoning = reasoning
        self._held = held
        self._given = 0  # characters of finished steps
        self._word: list[str] = []  # pieces of the newest word, which may go on
        self._begin()

    def _begin(self) -> None:
        self._text: list[str] = []  # pieces of the step, without the newest word
        self._size = 0
        self._structure = Structure()
        self._has_word = False
        self._due: int | None = None  # the step ends there if anything visible follows
        self._begin_line()

    def _begin_line(self) -> None:
        self._line: list[str] = []
        self._head = ""  # of the line
        self._displays = self._structure.displays()

    def rest(self) -> str:
        self._text, self._word = (["".join(parts)] if parts else [] for parts in (self._text, self._word))
        return "".join((*self._text, *self._word))

    def feed(self, text: str) -> Iterator[str]:
        space = _LAST_SPACE.match(text)
        if space is None:
            self._word.append(text)
        else:
            settled = "".join((*self._word, space[0]))
            self._word = [text[space.end() :]] if space.end() < len(text) else []
            for piece in _lines(settled):
                yield from self._read(piece)
        if self._due is not None and self._word:
            yield self._cut(self._due)

    def _read(self, piece: str) -> Iterator[str]:
        """Read a line or a part of one."""
        at = 0
        while at < len(piece):
            if self._due is not None:
                if self._due >= self._size:  # its white space comes now, or was the last to come
                    last = self._text[-1][-1] if self._due == self._size else ""
                    self._due += f"{last}{piece[at : at + 2]}".startswith("\r\n")
                visible = _VISIBLE.search(piece, at)
                stop = len(piece) if visible is None else visible.start()
                self._append(piece[at:stop])
                at = stop
                if visible is None:
                    break
                yield self._cut(self._due)
            found = _END.search(piece, at)
            stop = len(piece) if found is None else found.end()
            self._append(piece[at:stop])
            if found is not None:
                by = self._obstacle(piece[max(at, stop - _LONGEST) : stop])
                if not by:
                    self._due = self._size + 1
                elif self._held is not None:
                    self._held(HeldBack(self._given + self._size, by))
            at = stop
        if piece.endswith("\n"):
            self._end_line()

    def _append(self, text: str) -> None:
        self._text.append(text)
        self._size += len(text)
        self._line.append(text)
        self._head = self._head or text[:_HEAD]
        if len(self._head) < _HEAD:
            self._head = "".join(self._line)[:_HEAD]
        self._displays.read(text)
        self._has_word = self._has_word or has_word(text)

    def _end_line(self) -> None:
        self._structure.read("".join(self._line))
        self._reasoning.read("".join(self._line))
        self._begin_line()

    def _obstacle(self, words: str) -> str:
        """What keeps the sentence from ending at the full stop that was read last, `words` being the last ones before
        it; empty: nothing.
        """
        structure, displays, head = self._structure, self._displays, self._head
        if self._reasoning.goes_on(head):
            return "reasoning"
        if structure.open:
            return structure.kind
        if structure.in_table:
            return "table"
        if displays.open or displays.code:
            return "LaTeX display" if displays.open else "inline code"
        if not self._has_word:
            return _NO_WORD
        if _QUIET.match(head):
            return "code, heading or table"
        if _NUMBER.match(head):
            return "number of an item"
        return "abbreviation" if _ABBREVIATION.search(words) else ""

    def _cut(self, end: int) -> str:
        text = "".join(self._text)
        self._given += end
        self._begin()
        for piece in _lines(text[end:]):
            self._append(piece)
            if piece.endswith("\n"):
                self._end_line()
        return text[:end]
