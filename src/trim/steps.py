"""The format of steps: what separates two of them, and what a final answer looks like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from trim.errors import ConfigError


class Separator(StrEnum):
    """What separates two steps of a text."""

    BLANK_LINE = "blank-line"
    NEWLINE = "newline"
    NUMBERED = "numbered"  # "1. ..." / "2) ..." / "Step 3: ..." at the start of a line
    SENTENCE = "sentence"


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]  # matches the separator, and only once it is complete
    joiner: str  # what to write between two kept steps
    stop: str | None  # a stop string that a server can use; None: the client must split the text


_RULES = {
    Separator.BLANK_LINE: _Rule(re.compile(r"\n[ \t]*\n"), "\n\n", "\n\n"),
    Separator.NEWLINE: _Rule(re.compile(r"\n"), "\n", "\n"),
    Separator.NUMBERED: _Rule(re.compile(r"\n\s*(?=(?:[Ss]tep\s+)?\d{1,3}\s*[.):]\s)"), "\n", None),
    Separator.SENTENCE: _Rule(re.compile(r"(?<=[.!?])\s+(?=\S)"), " ", None),
}

# Final answers as the common benchmarks write them: "#### 42" (GSM8K) and "\boxed{...}" (MATH).
_FINAL_ANSWER = r"####\s*\S|\\boxed\s*\{"


@dataclass(frozen=True)
class StepFormat:
    """How a solution is split into steps, and how its end is recognised.

    Args:
        separator: what stands between two steps.
        answer: regular expression that a final answer matches.

    Raises:
        ConfigError: `answer` is not a valid regular expression.
    """

    separator: Separator = Separator.BLANK_LINE
    answer: str = _FINAL_ANSWER

    def __post_init__(self) -> None:
        try:
            re.compile(self.answer)
        except re.error as error:
            raise ConfigError(f"answer pattern {self.answer!r} is not a valid regular expression: {error}") from None

    @property
    def joiner(self) -> str:
        """The separator as it is written between two steps, such as a blank line."""
        return _RULES[self.separator].joiner

    @property
    def stop(self) -> str | None:
        """The stop string for servers; None where only the client can find the end of a step."""
        return _RULES[self.separator].stop

    def join(self, steps: tuple[str, ...]) -> str:
        """The text of these steps, separators between them."""
        return self.joiner.join(steps)

    def prefix(self, kept: tuple[str, ...]) -> str:
        """The text that a model is asked to continue: the kept steps, each followed by the separator."""
        return "".join(step + self.joiner for step in kept)

    def split(self, text: str) -> tuple[str, ...]:
        """The steps of a finished text; empty ones are left out."""
        cutter = Cutter(self)
        return tuple(step for step in (*cutter.feed(text), cutter.rest()) if step)

    def has_answer(self, step: str) -> bool:
        """Whether this step contains a final answer and so ends the solution."""
        return re.search(self.answer, step) is not None  # re caches the compiled pattern


def is_degenerate(step: str) -> bool:
    """Whether a step contains no letter or digit, such as "" or "---"."""
    return not any(char.isalnum() for char in step)


class Cutter:
    """Splits a growing text into steps. White space around a step is not part of it."""

    def __init__(self, step_format: StepFormat) -> None:
        self._pattern = _RULES[step_format.separator].pattern
        self._text = ""

    def feed(self, text: str) -> list[str]:
        """Add text and return the steps that it completed, in order."""
        self._text = (self._text + text) if self._text else text.lstrip()
        finished: list[str] = []
        while match := self._pattern.search(self._text):
            finished.append(self._text[: match.start()].strip())
            self._text = self._text[match.end() :].lstrip()
        return finished

    def rest(self) -> str:
        """The last step, which may still be incomplete."""
        return self._text.strip()
