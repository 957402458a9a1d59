"""How a finished text is cut into steps, and why not elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trim.answer_marks import marked_answer
from trim.steps import MARKED, Cutter, HeldBack, StepFormat
from trim.visible_text import reasons, visible


@dataclass(frozen=True, slots=True)
class CutStep:
    """A step of a text.

    `text` is a slice of it: the steps, joined, are the text. `line` is the first one that it stands on, from 1. `held`
    are the separators in it that end no step, `at` in characters of the whole text. `answer` is the final answer in it,
    which would end the solution.
    """

    text: str
    line: int
    held: tuple[HeldBack, ...] = ()
    answer: str | None = None


def cut_text(form: StepFormat, text: str) -> tuple[CutStep, ...]:
    """The steps of a text, those behind a final answer included."""
    held: list[HeldBack] = []
    Cutter(form, held=held.append).feed(text)
    found: list[CutStep] = []
    begin, line, inside = 0, 1, False
    for step in form.split(text):
        end = begin + len(step)
        within = tuple(one for one in held if begin < one.at < end)
        found.append(CutStep(step, line, within, _answer(form, step, reasoning=inside)))
        begin, line, inside = end, line + step.count("\n"), reasons(step, reasoning=inside)
    return tuple(found)


def _answer(form: StepFormat, step: str, *, reasoning: bool) -> str | None:
    if form.answer is None:
        return None
    said = visible(step, reasoning=reasoning)
    if form.answer == MARKED:
        return marked_answer(said)
    match = re.search(form.answer, said)
    return None if match is None else match[0]
