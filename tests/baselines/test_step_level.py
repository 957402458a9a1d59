"""Step-level rivals: what each looks at, at which constants, and that they all take part."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.baselines import STEP_LEVEL, GlimpRouter, RsdClipped, SpecReason, TakeOver, build_step_level, step_sweep
from trim.config.settings import Config, PolicySettings
from trim.errors import ConfigError
from trim.policies import Threshold
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.testing import check_policy
from trim.types import Action, Observation, Question, Role

SEEN = Observation(scores=(0.9, 0.6), tokens=(20, 20), actions=(Action.CONTINUE,), logprob=-0.1, entropy=0.3, draw=0.5)


@pytest.mark.parametrize("name", STEP_LEVEL)
def test_every_rival_is_a_policy(name: str) -> None:
    for parameter in step_sweep(name):
        policy = build_step_level(name, parameter)
        assert (policy.name, policy.parameter) == (name, parameter)
        check_policy(policy)
    assert [p.parameter for p in Config().build_sweep(name)] == list(step_sweep(name))
    assert Config(policy=PolicySettings(name)).build_policy().name == name


@pytest.mark.parametrize(
    ("name", "kept", "rejected"),
    [
        ("rsd", 0.6, 0.61),
        ("spec-reason", 5, 6),  # 9 * 0.6 = 5.4
        ("glimp-router", 0.3, 0.29),
        ("confidence", 0.9, 0.91),  # exp(-0.1) = 0.905
        ("take-over", 0.6, 0.61),
    ],
)
def test_each_looks_at_its_own_figure(name: str, kept: float, rejected: float) -> None:
    assert build_step_level(name, kept).act(SEEN) is Action.CONTINUE
    assert build_step_level(name, rejected).act(SEEN) in (Action.REGENERATE, Action.TAKE_OVER)


@given(st.floats(0, 1), st.floats(0, 0.999))
def test_clipped_rsd_accepts_with_the_reward_as_probability(score: float, draw: float) -> None:
    seen = replace(SEEN, scores=(score,), tokens=(20,), actions=(), draw=draw)
    assert (RsdClipped().act(seen) is Action.CONTINUE) == (draw < score)


@given(st.floats(0, 1), st.floats(0, 1))
def test_take_over_rejects_what_the_threshold_rejects(k: float, score: float) -> None:
    seen = replace(SEEN, scores=(score,), tokens=(20,), actions=())
    rejects = Threshold(k).act(seen) is Action.REGENERATE
    assert (TakeOver(k).act(seen) is Action.TAKE_OVER) == rejects


def test_what_a_model_does_not_tell_is_no_decision() -> None:
    blind = replace(SEEN, logprob=None, entropy=None)
    for name, words in (("glimp-router", "entropies"), ("confidence", "log-probabilities")):
        with pytest.raises(ConfigError, match=words):
            build_step_level(name).act(blind)


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("rsd", 1.1),
        ("spec-reason", 10),
        ("glimp-router", -1),
        ("confidence", 2),
        ("take-over", -0.1),
        ("rsd-clipped", 1),
    ],
)
def test_wrong_parameters_are_refused(name: str, parameter: float) -> None:
    with pytest.raises(ConfigError, match="threshold" if name == "rsd" else name):
        build_step_level(name, parameter)
    with pytest.raises(ConfigError, match="unknown"):
        build_step_level("nonsense")


def test_take_over_never_goes_back() -> None:
    weak, strong = SimulatedModel(Role.WEAK, 0.6), SimulatedModel(Role.STRONG, 0.9)
    router = Router(weak, strong, SimulatedPrm(0.95), TakeOver(0.5))
    for index in range(10):
        trace = asyncio.run(router.route(Question(f"question {index}", id=str(index))))
        authors = [step.role for step in trace.steps]
        first = authors.index(Role.STRONG) if Role.STRONG in authors else len(authors)
        assert all(author is Role.STRONG for author in authors[first:])


def test_the_paper_s_constants_are_in_the_sweeps() -> None:
    assert 0.7 in step_sweep("rsd")
    assert 7 in step_sweep("spec-reason")
    assert SpecReason().grade == 7
    assert GlimpRouter(0.0).act(SEEN) is Action.REGENERATE
