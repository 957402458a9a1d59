"""Questions for simulated models."""

from __future__ import annotations

from trim.tasks.simulated import TASK


def test_questions_are_distinct_and_repeatable() -> None:
    questions = TASK.questions(20, 3)
    assert questions == TASK.questions(20, 3)
    assert len({question.text for question in questions}) == 20
    assert not set(questions) & set(TASK.questions(20, 4))


def test_solutions_end_with_right_or_wrong() -> None:
    question = TASK.questions(1, 0)[0]
    assert TASK.right(TASK.answer("a\n\n#### right"), question)
    assert not TASK.right(TASK.answer("a\n\n#### wrong"), question)
    assert not TASK.right(TASK.answer("a step, then nothing"), question)
