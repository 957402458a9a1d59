"""Fitting a judge: what is put in comes out, and a coin is seen to be one."""

from __future__ import annotations

import numpy as np
import pytest

from trim.errors import ConfigError
from trim.experiments.judge_examples import Example, Examples
from trim.experiments.judge_fit import JudgeFit, fit_judge
from trim.metrics.judge_quality import auroc
from trim.stats import sigmoid
from trim.types import Finish, Role, Step

WEIGHT = -3.0  # of the mean entropy, on whose scale a step's chance is drawn


def simulated(questions: int = 150, *, weight: float = WEIGHT, entropies: bool = True, slip: float = 0.0) -> Examples:
    """Steps whose chance to be right falls with their entropy; of `slip` of the wrong ones an equation is false."""
    rng = np.random.default_rng(5)
    examples = []
    for number in range(questions):
        for index in range(4):
            entropy, tokens = float(rng.gamma(2.0, 0.3)), int(rng.integers(8, 60))
            right = bool(rng.random() < sigmoid(2.5 + weight * entropy))
            text = "1 + 1 = 3" if not right and rng.random() < slip else "1 + 1 = 2"
            step = Step(
                text,
                Role.WEAK,
                tokens,
                Finish.EOS if index == 3 else Finish.SEPARATOR,
                logprob=-entropy * float(rng.uniform(0.6, 1.4)),
                least_logprob=-3.0 * entropy,
                mean_entropy=entropy if entropies else None,
                most_entropy=entropy * 2 if entropies else None,
                uncertain=float(rng.uniform(0, 0.3)) if entropies else None,
            )
            examples.append(Example(f"q{number}", step, index, right))
    return Examples("answer", tuple(examples), questions)


def fitted(examples: Examples) -> JudgeFit:
    return fit_judge(examples, name="mine", models=["small"], data="made up", date="2026-11-30", command="test")


def test_a_known_truth_is_recovered() -> None:
    examples = simulated()
    made = fitted(examples)
    truth = np.array([sigmoid(2.5 + WEIGHT * (one.step.mean_entropy or 0.0)) for one in examples.steps])
    right = np.array([float(one.right) for one in examples.steps])
    assert made.quality.auroc.low < auroc(truth, right) < made.quality.auroc.high + 0.03
    scores = np.array([made.judge.score(one.step, one.index) for one in examples.steps], float)
    assert np.abs(scores - truth).mean() < 0.06
    assert np.corrcoef(scores, truth)[0, 1] > 0.9
    assert made.quality.calibration_error < 0.06
    assert not made.quality.is_coin
    assert (made.judge.target, made.judge.top_logprobs, made.judge.needs_entropy) == ("answer", 5, True)
    assert made.judge.base == pytest.approx(right.mean(), abs=1e-3)
    below = (scores < made.judge.score_at(0.2)).mean()
    assert below == pytest.approx(0.2, abs=0.03)
    plain = made.judge.without_entropy
    assert plain is not None
    assert plain.score(examples.steps[0].step, 0) is not None
    assert made.compared["without entropy"].auroc.value <= made.quality.auroc.value + 0.02
    assert made.compared["length and position alone"].auroc.low < 0.55


def test_noise_is_a_coin() -> None:
    made = fitted(simulated(weight=0.0))
    assert made.quality.is_coin
    assert made.quality.auroc.low < 0.5


def test_servers_without_the_likeliest_tokens_have_a_judge_without_entropy() -> None:
    made = fitted(simulated(entropies=False))
    assert (made.judge.top_logprobs, made.judge.without_entropy) == (0, None)
    assert not made.judge.needs_entropy
    assert not made.quality.is_coin


def test_false_equations_are_used_where_they_pay() -> None:
    made = fitted(simulated(slip=0.7))
    assert made.equations_pay
    assert "false_equations" in made.judge.regression.features
    assert made.quality.auroc.value > made.compared["without false equations"].auroc.value + 0.05
    assert fitted(simulated(60)).equations_pay is None  # none is false


def test_too_little_is_said() -> None:
    few = simulated(15)
    with pytest.raises(ConfigError, match=r"wrong steps of 15 questions are too few.*--samples"):
        fitted(few)
    one_kind = Examples("answer", tuple(one for one in simulated().steps if one.right), 150)
    with pytest.raises(ConfigError, match="and 0 wrong steps"):
        fitted(one_kind)
    bare = tuple(
        Example(one.question, Step("x", Role.WEAK, one.step.tokens), one.index, one.right) for one in simulated().steps
    )
    with pytest.raises(ConfigError, match="no log-probabilities: record them with a judge that asks"):
        fitted(Examples("answer", bare, 150))
