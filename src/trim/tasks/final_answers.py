r"""Where the answer of a solution is: in its last box, else behind its last `####` or "final answer"."""

from __future__ import annotations

import re

from trim.tasks.spelling import is_empty, visible

_MARKS = 50  # at the end of a text, that are worth a look
_LONGEST = 2000  # characters that an answer behind a mark may have

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_BARE = re.compile(r"\s*((?:\\[A-Za-z]+\s*(?:\{[^{}]*\}|\d)*|[^\s{}$\\])+)")
_BRACE = re.compile(r"(?<!\\)(?:\\\\)*[{}]")
_MARK = re.compile(r"#{4,}")
_SENTENCE = re.compile(r"(?i)\bfinal answer(?: is|\s*:)(?!\s*the final answer):?")
_HOPE = re.compile(r"(?i)\.?\s*I hope it is correct\.?")
_LABEL = re.compile(r"(?i)^(?:the )?(?:final )?answer\b(?: is)?[\s:*]*")
_HEADING = re.compile(r"(?i)(?:step|part|case|phase|stage)\b|\d+[.)]\s+[a-z]|.*:$")


def final_answer(text: str) -> str | None:
    r"""The content of the last complete box that has any; else what is behind the last `####` or "final answer".

    `\boxed{}` in a plan, headings such as `#### Step 1`, reasoning between `<think>` and `</think>` and all that
    follows the token that ends a turn are not answers.
    """
    text = visible(text)
    for box in reversed(list(_BOX.finditer(text))[-_MARKS:]):
        answer = _content(text, box.end())
        if answer is not None and not is_empty(answer[:_LONGEST]):
            return answer.strip()
    for mark in (_MARK, _SENTENCE):
        for found in reversed(list(mark.finditer(text))[-_MARKS:]):
            answer = _behind(text[found.end() : found.end() + _LONGEST])
            if answer is not None and not is_empty(answer):
                return answer
    return None


def after_mark(text: str) -> str | None:
    """The rest of the line after the last `####`; None if it is empty or there is no `####`."""
    _, mark, rest = text.rpartition("####")
    answer = rest.strip().split("\n")[0].strip()
    return answer if mark and answer else None


def _content(text: str, start: int) -> str | None:
    r"""What is in the box whose command ends at `start`; None if it is not closed. `\boxed 7` has no braces."""
    bare = _BARE.match(text, start)
    if bare is not None:
        return bare[1]
    depth = 0
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[text.index("{", start) + 1 : brace.start()]
    return None


def _behind(rest: str) -> str | None:
    """The answer behind a mark; None if the mark is that of a heading."""
    line, _, below = rest.strip().partition("\n")
    line = _HOPE.sub("", line).strip(" *`_#")
    unlabelled = _LABEL.sub("", line).strip(" *`_")
    if not unlabelled and line:
        return below.strip().partition("\n")[0].strip(" *`_") or None
    heading = _HEADING.match(unlabelled) or (unlabelled == line and below.strip() and re.match("[A-Za-z]{2}", line))
    return None if heading else unlabelled
