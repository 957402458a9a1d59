"""The judge of a configuration: what `[prm]` leaves to the models."""

from __future__ import annotations

import pytest

from trim.config.judges import judge_for
from trim.config.resolution import resolve
from trim.config.settings import Config, ModelSettings, PriceSettings, PrmSettings
from trim.config.specs import identities
from trim.errors import ConfigError

WEAK = ModelSettings("vllm", "small", "http://w/v1", template="qwen2.5", prices=PriceSettings(1.0, 2.0, 0.1))
STRONG = ModelSettings(model="openai/gpt", prices=PriceSettings(3.0, 9.0, 0.3))
SERVED = Config(WEAK, STRONG)


def judged(backend: str = "auto", model: str = "", config: Config = SERVED, **more: object) -> PrmSettings:
    return judge_for(Config(config.weak, config.strong, PrmSettings(backend, model, **more)))  # type: ignore[arg-type]


def test_nothing_said() -> None:
    assert judge_for(Config()).backend == "embedded"
    assert judge_for(Config()).prices.prompt > 0
    assert judge_for(SERVED).backend != "embedded"


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
    assert found.prices == PriceSettings(3.0)
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
