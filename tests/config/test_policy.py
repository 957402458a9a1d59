"""The policy that a configuration and a name on the command line resolve to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from trim.config.policy import PolicyChoice, choose, open_policy, open_sweep
from trim.config.settings import Config, ModelSettings, PolicySettings, PrmSettings
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.policies import PolicySpec, Threshold
from trim.scoring.fitted import file_of
from trim.scoring.fitted_model import FittedModel
from trim.scoring.recalibrated import RecalibrationCurve

CONFIGURED = Config(policy=PolicySettings("threshold+2", 0.7))
SAVED = Config(policy=PolicySettings("pomdp", 0.004, "fits/gsm"))


def test_without_a_name_it_is_the_configured_one() -> None:
    assert choose(CONFIGURED) == PolicyChoice(PolicySpec("threshold", 2), 0.7)
    assert choose(CONFIGURED, parameter=0.2).parameter == 0.2
    assert choose(SAVED) == PolicyChoice(PolicySpec("pomdp", folder="fits/gsm"), 0.004)
    assert open_policy(CONFIGURED) == Threshold(0.7, 2, "threshold+2")
    assert open_policy(Config()) == Threshold(0.5)


def test_a_name_takes_from_the_configuration_what_fits() -> None:
    assert choose(CONFIGURED, "threshold+2").parameter == 0.7
    assert choose(CONFIGURED, "threshold").parameter is None
    assert choose(SAVED, "pomdp+2") == PolicyChoice(PolicySpec("pomdp", 2, folder="fits/gsm"))
    assert choose(SAVED, "pomdp=other") == PolicyChoice(PolicySpec("pomdp", folder="other"))
    assert choose(SAVED, "agg") == PolicyChoice(PolicySpec("agg"))
    beside = Config(policy=PolicySettings("threshold", path="fits/gsm"))
    assert choose(beside) == PolicyChoice(PolicySpec("threshold"))


def test_a_calibration_says_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    made = {"schema": 1, "kind": "calibration", "policy": "pomdp+2", "parameter": 0.003, "folder": "fits/gsm"}
    path.write_text(json.dumps(made | {"provenance": {"models": identities(Config())}}))
    found = PolicyChoice(PolicySpec("pomdp", 2, folder="fits/gsm"), 0.003)
    assert choose(Config(), str(path)) == found
    assert choose(Config(policy=PolicySettings(str(path)))) == found
    with pytest.raises(ConfigError, match="says its parameter itself"):
        choose(Config(), str(path), 0.1)


def test_a_sweep_is_checked_against_the_drafts_of_a_step() -> None:
    assert [policy.parameter for policy in open_sweep(CONFIGURED, "threshold+2", (0.1, 0.2))] == [0.1, 0.2]
    assert len(open_sweep(CONFIGURED, "threshold+2")) == 11
    for opens in (open_policy, open_sweep):
        with pytest.raises(ConfigError, match="max_drafts of at least 10"):
            opens(Config(), "threshold+9")


SERVED = Config(ModelSettings("vllm", "w", "http://w/v1"), ModelSettings("vllm", "s", "http://s/v1"))


@pytest.mark.parametrize(
    ("name", "share"), [("threshold", 0.2), ("threshold+2", 0.2), ("rsd", 0.2), ("take-over", 0.05)]
)
def test_a_fitted_judge_says_which_threshold_a_fifth_of_steps_is_below(name: str, share: float, tmp_path: Path) -> None:
    judge = FittedModel.load(file_of("generic"))
    policy = open_policy(SERVED, name)
    assert policy.parameter == judge.score_at(share) != open_policy(Config(), name).parameter
    assert open_policy(SERVED, name, 0.3).parameter == 0.3
    RecalibrationCurve((0.0, 1.0), (0.0, 0.5)).save(tmp_path / "curve.json")
    halved = replace(SERVED, prm=PrmSettings(recalibration=str(tmp_path / "curve.json")))
    assert open_policy(halved, name).parameter == pytest.approx(judge.score_at(share) / 2)
    swept = [found.parameter for found in open_sweep(SERVED, name)]
    assert swept == sorted({judge.score_at(part) for part in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)})


def test_a_policy_that_means_the_strong_model_as_its_judge_needs_it() -> None:
    with pytest.raises(
        ConfigError, match=r"spec-reason needs .*set \[prm\] backend = 'likelihood', model = 'strong', or"
    ):
        open_policy(Config(), "spec-reason")
    assert open_policy(Config(prm=PrmSettings("likelihood", "strong")), "spec-reason").name == "spec-reason"
    strong = ModelSettings("vllm", "big", "http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match=r"backend = 'grade', model = 'big', base_url = 'http://127.0.0.1:9/v1'"):
        open_policy(Config(strong, strong), "spec-reason")
    graded = PrmSettings("grade", "big", "http://127.0.0.1:9/v1", timeout=5.0)
    assert open_policy(Config(strong, strong, graded), "spec-reason").name == "spec-reason"
    assert open_policy(Config(strong, strong, PrmSettings("grade", "strong")), "spec-reason").name == "spec-reason"
    file = ModelSettings(model="gguf/strong.gguf")
    assert open_policy(Config(file, file, PrmSettings("grade", "strong")), "spec-reason").name == "spec-reason"
    own = ModelSettings("examples/own_generator.py:Own")
    with pytest.raises(ConfigError, match="cannot be asked for grades"):
        open_policy(Config(strong=own), "spec-reason")
    assert open_sweep(Config(), "spec-reason", (7,))  # an evaluation brings that judge
