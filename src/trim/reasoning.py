"""Reasoning in solutions that have two authors: what a model is given of what another one thought.

Reasoning is text between marks, such as `<think>` and `</think>`, or text that a server sends in a field of its own. A
model goes on with its own reasoning where it stopped. Reasoning that another model left open is closed before it
continues: no model is given an open block that it did not begin.
"""

from __future__ import annotations

from collections.abc import Sequence

from trim.types import Role, Step
from trim.visible_text import closing, reasons

OPEN = "<think>\n"
"""What text that came in a field of its own is given back behind; `CLOSE` stands after it."""
CLOSE = "\n</think>\n\n"


def fed(steps: Sequence[Step], role: Role, *, reasoning: bool = False) -> tuple[str, ...]:
    """Kept steps as the texts that a model of this role continues: their concatenation is the answer so far.

    Args:
        steps: kept.
        role: of the model.
        reasoning: they stand behind text of this model that ends inside reasoning.
    """
    texts: list[str] = []
    author: Role | None = None  # of the field's reasoning that is open
    for step in steps:
        text = step.inserted + step.text
        if step.field != "content" and author is None:
            text, author = ("" if reasoning and not texts else OPEN) + text, step.role
        elif step.field != "content" and author is not step.role:
            text, author = CLOSE + OPEN + text, step.role
        elif step.field == "content" and author is not None:
            text, author = CLOSE + text, None
        elif not texts and step.reasoning and not reasoning:
            text = OPEN + text  # the template had opened it
        texts.append(text)
    if author not in (None, role):
        texts[-1] += CLOSE
    elif author is None and texts:
        texts[-1] += left_open(steps, role)
    return tuple(texts)


def left_open(steps: Sequence[Step], role: Role) -> str:
    """What closes the reasoning in these steps' content that another role has left open; empty: there is none."""
    opened: Step | None = None
    inside = False
    for step in steps:
        if step.field != "content":
            continue
        began = inside or step.reasoning
        inside = reasons(step.text, reasoning=began and not step.inserted)
        if not inside:
            opened = None
        elif opened is None or step.inserted or not began:
            opened = step
    return "" if opened is None or opened.role is role else closing(opened.text)
