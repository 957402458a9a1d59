"""The shipped generic judge is what its command makes of the committed table."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from recipes.real.generic_judge import CHOSEN, crossed, fitted, generic, measured, transferred
from recipes.real.step_features import Row, load
from trim.scoring.fitted import file_of
from trim.scoring.fitted_model import FittedModel

ROWS = load()


def test_the_coefficients_are_reproduced() -> None:
    made, shipped = generic(ROWS), FittedModel.load(file_of("generic"))
    for mine, theirs in ((made.regression, shipped.regression), (made.without_entropy, shipped.without_entropy)):
        assert mine is not None and theirs is not None
        for one, other in zip(mine.coefficients, theirs.coefficients, strict=True):
            assert one.feature == other.feature
            assert (one.weight, one.low, one.high) == pytest.approx((other.weight, other.low, other.high), abs=1e-3)
        assert mine.intercept == pytest.approx(theirs.intercept, abs=1e-3)
    assert (made.base, *made.quantiles) == pytest.approx((shipped.base, *shipped.quantiles), abs=2e-3)
    for figure, said in zip(made.measured, shipped.measured, strict=True):
        assert (figure.data, figure.steps, figure.wrong) == (said.data, said.steps, said.wrong)
        assert (figure.auroc, figure.low, figure.high) == pytest.approx((said.auroc, said.low, said.high), abs=5e-3)


def test_the_table_has_each_step_once_and_no_step_behind_the_first_wrong_one() -> None:
    assert max(Counter((row.model, row.solution, row.index) for row in ROWS).values()) == 1
    last = {(row.model, row.solution): row.index for row in ROWS}
    assert all(row.index == last[row.model, row.solution] for row in ROWS if not row.correct)
    assert all(row.least <= row.mean <= 0 and row.tokens > 0 for row in ROWS)


def test_no_step_is_scored_by_coefficients_that_saw_its_solution() -> None:
    readers = sorted({row.model for row in ROWS})
    own = [row for row in ROWS if row.model == readers[0]][:400]
    copies = [replace(row, model="copy") for row in own]
    _, scored = transferred([*own, *copies], "copy", CHOSEN)
    assert scored == pytest.approx(crossed(own, CHOSEN), abs=0.02)


def test_a_signal_that_is_there_is_found() -> None:
    rows = [
        Row("m", f"s{n}", 0, int(n % 3 > 0), 0, 10, -0.2, -2.0, *(0.5 + (n % 3 == 0) * (n % 2),) * 10)
        for n in range(120)
    ]
    weights = {one.feature: one.weight for one in fitted(rows, CHOSEN).coefficients}
    assert weights["mean_entropy"] < -1
    assert measured(rows, crossed(rows, CHOSEN)).auroc.value == pytest.approx(0.75, abs=0.05)
