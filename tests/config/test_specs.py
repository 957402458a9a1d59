"""A configuration resolved into the specs of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trim.backends.onnx_model import fingerprint
from trim.config.policy import open_policy
from trim.config.resolution import resolve
from trim.config.settings import (
    BudgetSettings,
    Config,
    GenerationSettings,
    ModelSettings,
    PolicySettings,
    PriceSettings,
    PrmSettings,
)
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.policies import PolicySpec
from trim.routing.limits import Limits, OnError
from trim.steps import Separator
from trim.types import Budget, Price, Role, Sampling

WEAK = ModelSettings(
    "vllm",
    "small",
    "http://127.0.0.1:8001/v1",
    api_key_env="NOT_SET",
    on_error="strong",
    prices=PriceSettings(0.1, 1.0, 0.01),
)
FREE = PriceSettings(0, 0)  # 0 is a price
STRONG = ModelSettings("sglang", "big", "http://127.0.0.1:8002/v1", system="Be brief.", tokenizer="folder", prices=FREE)
PRM = PrmSettings(
    "vllm", "prm", "http://127.0.0.1:8003", on_error="weak", recalibration="some/curve.json", prices=PriceSettings(0)
)


def test_a_run_gets_every_spec_that_it_needs() -> None:
    spec = resolve(
        Config(
            weak=WEAK,
            strong=STRONG,
            prm=PRM,
            policy=PolicySettings("pomdp+revise+2", 0.001, "fits/mine"),
            budget=BudgetSettings(300, 0.5),
            generation=GenerationSettings(0.0, 0.9, 5, 7, 64, "numbered", 0, 3),
        )
    )
    assert (spec.weak.role, spec.weak.backend, spec.weak.model) == (Role.WEAK, "vllm", "small")
    assert (spec.weak.system, spec.weak.tokenizer, spec.weak.api_key_env) == (None, None, "NOT_SET")
    assert (spec.strong.role, spec.strong.system, spec.strong.tokenizer) == (Role.STRONG, "Be brief.", "folder")
    assert spec.judge.recalibration == Path("some/curve.json")
    assert (spec.policy, spec.parameter) == (PolicySpec("pomdp", 2, ("revise",), "fits/mine"), 0.001)
    assert spec.step_format.separator is Separator.NUMBERED
    assert spec.sampling == Sampling(0.0, 0.9, 5, 64)
    assert spec.limits == Limits(7, 3, 0)
    assert spec.budget == Budget(300, 0.5)
    assert spec.prices.weak == Price(0.1, 1.0, 0.01)
    assert spec.on_error == OnError("strong", "raise", "weak")


def test_limits_in_dollars_need_the_price_of_the_judge() -> None:
    priced = Config(budget=BudgetSettings(max_cost=1.0))
    assert resolve(priced).prices.missing == ()
    with pytest.raises(ConfigError, match=r"\[prm.prices\] prompt is not set"):
        resolve(replace(priced, prm=PrmSettings("vllm", "prm", "http://127.0.0.1:8003")))


def test_models_that_are_not_named_are_the_shipped_ones() -> None:
    spec = resolve(Config())
    assert (spec.weak.model, spec.strong.model, spec.judge.model) == ("weak", "strong", "prm")
    for backend, model in (("likelihood", "judge"), ("entropy", "weak"), ("log-probability", "weak")):
        assert resolve(Config(prm=PrmSettings(backend))).judge.model == model


def test_models_keep_the_names_that_saved_policies_compare() -> None:
    assert identities(Config(weak=WEAK, strong=STRONG, prm=PRM)) == {
        "weak": "vllm:small at http://127.0.0.1:8001/v1",
        "strong": "sglang:big at http://127.0.0.1:8002/v1",
        "prm": "vllm:prm at http://127.0.0.1:8003 through curve.json",
    }
    assert identities(Config(prm=PrmSettings("entropy"))) == {
        "weak": f"embedded:weak@{fingerprint('weak')}",
        "strong": f"embedded:strong@{fingerprint('strong')}",
        "prm": f"entropy:weak@{fingerprint('weak')}",
    }


def test_a_calibrated_policy_is_read_when_a_configuration_is_resolved(tmp_path: Path) -> None:
    path = tmp_path / "calibrated.json"
    config = replace(Config(), policy=PolicySettings(str(path)))
    with pytest.raises(ConfigError, match="there is no such file"):
        resolve(config)
    models = str(identities(config)).replace("'", '"')
    path.write_text(
        '{"schema": 1, "kind": "calibration", "policy": "threshold+2", "parameter": 0.7, "folder": null,'
        f' "provenance": {{"models": {models}}}}}'
    )
    spec = resolve(config)
    assert (spec.policy, spec.parameter) == (PolicySpec("threshold", 2), 0.7)
    assert open_policy(config).parameter == 0.7
