"""The judge of a configuration: what `[prm]` leaves to the models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.money import dollars
from trim.config.judges import judge_for
from trim.config.resolution import resolve
from trim.config.settings import Config, ModelSettings, PriceSettings, PrmSettings
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.scoring.fitted import SHIPPED

WEAK = ModelSettings("vllm", "small", "http://w/v1", template="qwen2.5", prices=PriceSettings(1.0, 2.0, 0.1))
STRONG = ModelSettings(model="openai/gpt", prices=PriceSettings(3.0, 9.0, 0.3))
SERVED = Config(WEAK, STRONG)


def judged(backend: str = "auto", model: str = "", config: Config = SERVED, **more: object) -> PrmSettings:
    return judge_for(Config(config.weak, config.strong, PrmSettings(backend, model, **more)))  # type: ignore[arg-type]


def test_nothing_said() -> None:
    assert judge_for(Config()).backend == "embedded"
    assert dollars(judge_for(Config()).prices.prompt) > 0
    assert judge_for(SERVED) == PrmSettings(
        "fitted", "generic", prices=Config().prm.prices
    )  # vLLM tells log-probabilities


@pytest.mark.parametrize(
    ("weak", "backend"),
    [
        ("llama-server/", "fitted"),
        ("gguf/small.gguf", "fitted"),
        ("sglang/small", "fitted"),
        ("deepseek/small", "fitted"),
        ("ollama/small", "fitted"),
        ("openai/small", "fitted"),
        ("groq/small", "yes-no"),
        ("mistral/small", "yes-no"),
        ("my.py:Mine", "yes-no"),
    ],
)
def test_without_a_judge_the_servers_log_probabilities_decide_else_the_strong_model(weak: str, backend: str) -> None:
    model = ModelSettings(weak) if weak == "my.py:Mine" else ModelSettings(model=weak)
    found = judge_for(Config(model, STRONG))
    assert found.backend == backend
    assert found.model == {"fitted": "generic", "yes-no": "gpt"}[backend]


def test_a_judge_fitted_for_the_weak_model_comes_before_the_generic_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = json.loads((SHIPPED / "generic.json").read_text())
    (tmp_path / "generic.json").write_text(json.dumps(values | {"models": ["*"]}))
    (tmp_path / "mine.json").write_text(json.dumps(values | {"name": "mine", "models": ["Small"]}))
    monkeypatch.setattr("trim.scoring.fitted.SHIPPED", tmp_path)
    assert judge_for(SERVED).model == "mine"
    assert judge_for(Config(replace(WEAK, model="other"), STRONG)).model == "generic"
    assert judged("fitted", "generic").model == "generic"
    assert judged("auto", "my/own.json") == PrmSettings("fitted", "my/own.json")


def test_a_fitted_judge_takes_no_servers_keys() -> None:
    with pytest.raises(ConfigError, match=r"\[prm\] timeout: it has no effect with the judge 'fitted'"):
        Config(WEAK, STRONG, PrmSettings(timeout=5.0))


def test_the_strong_model_is_asked_where_no_other_is_named() -> None:
    for kind in ("yes-no", "grade", "typed"):
        assert judged(kind).base_url == "https://api.openai.com/v1"
        with pytest.raises(ConfigError, match=f"'{kind}' needs base_url"):
            Config(prm=PrmSettings(kind))


@pytest.mark.parametrize("backend", ["auto", "yes-no"])
def test_the_strong_model_judges(backend: str) -> None:
    found = judged(backend, "strong")
    assert (found.backend, found.model, found.base_url) == ("yes-no", "gpt", "https://api.openai.com/v1")
    assert found.api_key_env == "OPENAI_API_KEY"
    assert found.prices == PriceSettings(3.0, 9.0, 0.3)  # what it writes is charged too
    assert judged(backend, "strong", prices=PriceSettings(0.5)).prices == PriceSettings(0.5)
    assert resolve(Config(WEAK, STRONG, PrmSettings(backend, "strong"))).prices.prm.prompt == 3.0


def test_log_probabilities_are_those_of_the_weak_model() -> None:
    for found in (judged("entropy"), judged("log-probability", "weak")):
        assert (found.model, found.base_url, found.template) == ("small", "http://w/v1", "qwen2.5")
        assert found.prices == PriceSettings(1.0, cached=0.1)
    assert identities(Config(WEAK, STRONG, PrmSettings("entropy")))["prm"] == "entropy:small at http://w/v1"


def test_shipped_models_that_judge() -> None:
    assert judged("auto", "strong", Config()).backend == "likelihood"
    assert judge_for(Config(prm=PrmSettings("likelihood", "strong"))).base_url == ""


def test_a_judge_with_a_model_of_its_own() -> None:
    own = PrmSettings("vllm", "strong", "http://p")
    assert judge_for(Config(WEAK, STRONG, own)) == own
    assert judged("my.py:Mine", "strong").base_url == ""


def test_a_class_of_the_users_own_cannot_be_asked() -> None:
    with pytest.raises(ConfigError, match=r"\[strong\] backend my.py:Mine is a class of your own and cannot judge"):
        judge_for(Config(WEAK, ModelSettings("my.py:Mine"), PrmSettings(model="strong")))


def test_keys_that_the_judging_model_gives_meaning() -> None:
    assert judged("entropy", timeout=5.0).timeout == 5.0
    with pytest.raises(ConfigError, match=r"\[prm\] step_mark: it has no effect with the judge 'yes-no'"):
        judged("auto", "strong", step_mark="x")
