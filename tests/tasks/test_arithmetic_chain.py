"""arithmetic_chain: the steps are those of the expression."""

from __future__ import annotations

import re
from itertools import islice

import pytest

from trim.tasks import arithmetic_chain


@pytest.mark.parametrize(
    ("expression", "steps"),
    [
        ("1 + 2 - 4", ("1 + 2 = 3", "3 - 4 = -1")),
        ("12 + 5 * 7 - 9", ("5 * 7 = 35", "12 + 35 = 47", "47 - 9 = 38")),
        ("2 * 3 * 4 - 5 * 6", ("2 * 3 = 6", "6 * 4 = 24", "5 * 6 = 30", "24 - 30 = -6")),
        ("1.5 - 2.5 + 3.0", ("1.5 - 2.5 = -1.0", "-1.0 + 3.0 = 2.0")),
    ],
)
def test_expressions_are_evaluated_one_operation_a_step(expression: str, steps: tuple[str, ...]) -> None:
    assert arithmetic_chain.evaluate(expression) == steps


def test_arithmetic_agrees_with_python() -> None:
    for question in islice(arithmetic_chain.FAMILY.stream(6, "test"), 200):
        expression = re.sub(r"^.*: | =$|^Calculate |\.$", "", question.text)
        assert float(question.reference or "") == pytest.approx(eval(expression))
        assert 9 <= len(question.reference_steps) <= 17
        for step in question.reference_steps[:-1]:
            left, _, right = step.partition(" = ")
            assert eval(left) == pytest.approx(float(right))
