r"""Where a solution marks its final answer: in its last box, else behind its last `####`."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MARKS = 50  # at the end of a text, that are worth a look
_LONGEST = 2000  # characters that an answer behind a mark may have

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_BARE = re.compile(r"\s*((?:\\[A-Za-z]+\s*(?:\{[^{}]*\}|\d)*|[^\s{}$\\])+)")
_VALUE = re.compile(r"(?![A-Za-z]{2}).*[^\W_]")  # a word behind `\boxed` only goes on with the sentence
_BRACE = re.compile(r"(?<!\\)(?:\\\\)*[{}]")
_MARK = re.compile(r"#{4,}")
_HOPE = re.compile(r"(?i)\.?\s*I hope it is correct\.?")
_LABEL = re.compile(r"(?i)^(?:the )?(?:final )?answer\b(?: is)?[\s:*]*")
_HEADING = re.compile(r"(?i)(?:step|part|case|phase|stage)\b|\d+[.)]\s+[a-z]|.*:$")
_NOTHING = re.compile(
    r"\\(?:text|[lcv]?dots|square|phantom|underline|q?quad)(?![A-Za-z])|\\[,;:!>()\[\]]|[\\\s{}.…_?*~$]"
    r"|(?i:\b(?:the|your|final|answer|here)\b)"
)


def marked_answer(text: str) -> str | None:
    r"""The content of the last complete box that has any; else what is behind the last `####` that is no heading.

    Args:
        text: without reasoning (see `trim.visible_text`).
    """
    for box in reversed(list(_BOX.finditer(text))[-_MARKS:]):
        answer = _content(text, box.end())
        if answer is not None and not is_empty(answer[:_LONGEST]):
            return answer.strip()
    return next(answers_behind(_MARK, text), None)


def answers_behind(mark: re.Pattern[str], text: str) -> Iterator[str]:
    """What is behind a mark, the last one first, where it is not the mark of a heading."""
    for found in reversed(list(mark.finditer(text))[-_MARKS:]):
        answer = behind_mark(text[found.end() : found.end() + _LONGEST])
        if answer is not None and not is_empty(answer):
            yield answer


def is_empty(text: str) -> bool:
    r"""Whether an answer says nothing, as `\text{}`, `...`, `?` and `your answer` do."""
    return not _NOTHING.sub("", text)


def _content(text: str, start: int) -> str | None:
    r"""What is in the box whose command ends at `start`; None if it is not closed. `\boxed 7` has no braces."""
    bare = _BARE.match(text, start)
    if bare is not None:
        return bare[1] if _VALUE.match(bare[1]) else None
    depth = 0
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[text.index("{", start) + 1 : brace.start()]
    return None


def behind_mark(rest: str) -> str | None:
    """The answer behind a mark; None if the mark is that of a heading."""
    line, _, below = rest.strip().partition("\n")
    line = _HOPE.sub("", line).strip(" *`_#")
    unlabelled = _LABEL.sub("", line).strip(" *`_")
    if not unlabelled and line:
        return below.strip().partition("\n")[0].strip(" *`_") or None
    heading = _HEADING.match(unlabelled) or (unlabelled == line and below.strip() and re.match("[A-Za-z]{2}", line))
    return None if heading else unlabelled
