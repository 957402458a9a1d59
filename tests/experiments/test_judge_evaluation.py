"""Judges on labelled solutions: the shipped one, others in its place, and curves checked on the other half."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.metrics.test_judge_quality import simulated
from trim.config.settings import Config
from trim.errors import ConfigError
from trim.experiments.judge_evaluation import recalibrate, score_solutions, with_judge
from trim.experiments.labelled_solutions import LabelledSolution
from trim.metrics.judge_quality import Judged
from trim.tasks import FAMILIES


def test_every_solution_is_scored_and_timed() -> None:
    problems = FAMILIES["arithmetic_chain"].problems(910_000, 3, level="easy")
    solutions = [LabelledSolution(question.text, tuple(question.reference_steps), -1) for question in problems]
    found = asyncio.run(score_solutions(Config(), solutions))
    assert [len(judged.scores) for judged in found] == [len(solution.steps) for solution in solutions]
    assert all(judged.first_wrong == -1 and judged.seconds > 0 for judged in found)


def test_another_judge_takes_the_address_but_not_the_curve() -> None:
    config = Config()
    served = replace(config, prm=replace(config.prm, backend="vllm", model="p", base_url="http://p", recalibration="c"))
    other = with_judge(served, "grade").prm
    assert (other.backend, other.model, other.base_url, other.recalibration) == ("grade", "p", "http://p", "")
    shipped = with_judge(served, "embedded").prm
    assert (shipped.backend, shipped.model, shipped.base_url) == ("embedded", "", "")
    assert with_judge(config, "likelihood=weak").prm.model == "weak"
    with pytest.raises(ConfigError, match="no 'guess'; there are "):
        with_judge(config, "guess=weak")


def test_a_curve_is_checked_on_solutions_that_it_was_not_fitted_to() -> None:
    judged = simulated(0.9)
    overconfident = [replace(one, scores=tuple(score**0.2 for score in one.scores)) for one in judged]
    found = recalibrate(overconfident, "isotonic")
    assert found.after < found.before
    same = recalibrate([one if n % 2 == 0 else Judged((0.5,), 0) for n, one in enumerate(overconfident)], "isotonic")
    assert same.curve == found.curve
    assert same.before == 0.5
