r"""Where the answer of a solution is: in its last box, else behind its last `####` or "final answer"."""

from __future__ import annotations

import re

from trim.answer_marks import answers_behind, marked_answer
from trim.visible_text import visible

_SENTENCE = re.compile(r"(?i)\bfinal answer(?: is|\s*:)(?!\s*the final answer):?")


def final_answer(text: str) -> str | None:
    r"""The content of the last complete box that has any; else what is behind the last `####` or "final answer".

    `\boxed{}` in a plan, headings such as `#### Step 1`, reasoning between `<think>` and `</think>` and all that
    follows the token that ends a turn are not answers.
    """
    text = visible(text)
    return marked_answer(text) or next(answers_behind(_SENTENCE, text), None)


def after_mark(text: str) -> str | None:
    """The rest of the line after the last `####`; None if it is empty or there is no `####`."""
    _, mark, rest = text.rpartition("####")
    answer = rest.strip().split("\n")[0].strip()
    return answer if mark and answer else None
