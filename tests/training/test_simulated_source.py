"""Episodes on simulated models that follow a POMDP."""

from __future__ import annotations

import asyncio

import pytest

from trim.policies import AlwaysStrong, AlwaysWeak
from trim.training.episodes import solve
from trim.training.simulated_source import price_range, simulated, textbook
from trim.types import Action


def test_validation_questions_are_held_out() -> None:
    opened = simulated(textbook(), (Action.CONTINUE, Action.REGENERATE), questions=40, validation=10, seed=0)
    assert not {q.text for q in opened.questions} & {q.text for q in opened.validation}
    assert (len(opened.questions), len(opened.validation)) == (40, 10)


def test_the_textbook_pair_is_what_it_says() -> None:
    model = textbook()
    assert model.strong_accuracy_if_correct == pytest.approx(1.0)
    assert price_range(model.step_tokens).low == pytest.approx(0.002 / 60, rel=0.02)
    assert price_range(model.step_tokens).high == pytest.approx(0.5 / 60, rel=0.02)


def test_the_models_solve_what_the_textbook_says() -> None:
    opened = simulated(textbook(), (Action.CONTINUE, Action.REGENERATE), questions=400, validation=0, seed=0)
    for policy, share in ((AlwaysWeak(), 0.4), (AlwaysStrong(), 0.8)):
        traces = asyncio.run(solve(opened, [(policy, question) for question in opened.questions], 0))
        assert sum(bool(trace.correct) for trace in traces) / len(traces) == pytest.approx(share, abs=0.08)
