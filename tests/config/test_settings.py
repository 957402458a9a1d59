"""Settings made in Python: what they default to and what they refuse."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from datetime import date

import pytest

from tests.money import dollars
from trim.config.judges import judge_for
from trim.config.settings import (
    Config,
    GenerationSettings,
    ModelSettings,
    PolicySettings,
    PriceSettings,
    PrmSettings,
    ServeSettings,
)
from trim.errors import ConfigError

SERVER = ModelSettings("vllm", "m", "http://x/v1", prices=PriceSettings(1, 2))


def test_without_anything_the_embedded_pair_at_nominal_prices() -> None:
    config = Config()
    assert config.weak.backend == config.strong.backend == judge_for(config).backend == "embedded"
    assert config.strong.prices.completion == pytest.approx(20 * dollars(config.weak.prices.completion))
    assert ModelSettings().prices == PriceSettings(None, None, None)


def test_a_whole_number_is_a_number_and_nothing_else_is_converted() -> None:
    assert isinstance(SERVER.prices.prompt, float)
    for wrong in ({"timeout": "60"}, {"timeout": True}, {"retries": 2.0}, {"retries": True}, {"model": 3}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ModelSettings(**wrong)
    with pytest.raises(ConfigError, match="pass_through = 1 must be true or false"):
        ServeSettings(pass_through=1)  # type: ignore[arg-type]


def test_settings_are_values() -> None:
    config = Config(weak=SERVER, strong=SERVER, prm=PrmSettings("vllm", "m", "http://x"))
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(replace(config)) == hash(config)
    with pytest.raises(AttributeError):
        config.weak = SERVER  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"port": 65_536}, r"port = 65536 must be a whole number in \[0, 65535\]"),
        ({"target_strong_share": 1.5}, r"target_strong_share = 1.5 must be a number in \[0, 1\]"),
        ({"spend_per_day": float("nan")}, "spend_per_day = nan must be a number of at least 0"),
        ({"deadline": 0}, "deadline = 0 must be a number above 0"),
        ({"breaker_cooldown": -1}, "breaker_cooldown = -1 must be a number of at least 0"),
        ({"prot": 1}, r"unknown key 'prot'; did you mean 'port'\?"),
    ],
)
def test_a_changed_copy_is_checked_too(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(ServeSettings(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weak": ModelSettings("generic", "m")}, r"\[weak\] backend: 'generic' needs base_url"),
        ({"prm": PrmSettings("typed")}, r"\[prm\] backend: 'typed' needs base_url"),
        ({"weak": ModelSettings(on_error="weak")}, r"\[weak\] on_error: it cannot be 'weak'"),
        ({"serve": ServeSettings(pass_through=True)}, r"\[serve\] pass_through: .*not a model in this process"),
        (
            {"serve": ServeSettings(target_strong_share=0.2, target_spend_per_day=1.0)},
            r"\[serve\] target_spend_per_day: .*target_strong_share, not both",
        ),
        (
            {
                "strong": ModelSettings(prices=PriceSettings(1, 0)),
                "serve": ServeSettings(target_spend_per_hour=1.0),
            },
            r"\[serve\] target_spend_per_hour: .*\[strong.prices\] completion",
        ),
        (
            {"strong": ModelSettings(), "serve": ServeSettings(target_spend_per_hour=1.0)},
            r"\[serve\] target_spend_per_hour: it needs every price, and \[strong.prices\] prompt is not set",
        ),
        ({"weak": ModelSettings(), "serve": ServeSettings(spend_per_day=1.0)}, r"\[serve\] spend_per_day: it needs"),
        ({"policy": PolicySettings("thresold")}, r"\[policy\] name: unknown policy 'thresold'"),
        ({"policy": PolicySettings("threshold", 2.0)}, r"\[policy\] parameter: .*\[0, 1\]"),
        ({"policy": PolicySettings("threshold+5")}, r"\[policy\] name: .*max_drafts of at least 6"),
        ({"policy": PolicySettings("x.json", 0.5)}, r"\[policy\] name: x.json says parameter and path itself"),
        ({"generation": 3}, r"generation = 3 must be a table"),
    ],
)
def test_settings_that_do_not_fit_together(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config(**changes)  # type: ignore[arg-type]


def test_scorers_of_token_probabilities_may_do_without_a_server() -> None:
    assert Config(prm=PrmSettings("likelihood")).prm.base_url == ""
    with pytest.raises(ConfigError, match="needs model"):
        Config(prm=PrmSettings("likelihood", base_url="http://x/v1"))


def test_no_file_is_read_when_settings_are_made(tmp_path: object) -> None:
    """What a policy's file or folder holds is seen when it is opened."""
    Config(policy=PolicySettings(f"{tmp_path}/absent.json"))
    Config(policy=PolicySettings("pomdp", path=f"{tmp_path}/absent"))
    Config(weak=ModelSettings(model="no-such-model", api_key_env="NOT_SET"))


def test_an_instruction_is_told_to_servers_without_a_system_prompt() -> None:
    config = Config(SERVER, replace(SERVER, system="Mine."), generation=GenerationSettings(top_k=0)).instructed(
        "Be brief."
    )
    assert (config.weak.system, config.strong.system) == ("Be brief.", "Mine.")
    assert Config().instructed("Be brief.") == Config()


GGUF = ModelSettings(model="gguf/small.gguf")
OWN = ModelSettings("my.py:Mine")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"weak": SERVER}, r"\[strong\] model: the shipped model does not .*vllm/m as \[weak\]: write .*--strong"),
        ({"strong": SERVER}, r"\[weak\] model: the shipped model does not work with vllm/m as \[strong\]"),
        ({"weak": GGUF}, r"\[strong\] model: the shipped model does not work with gguf/small.gguf"),
        ({"strong": GGUF, "weak": ModelSettings(model="embedded/weak")}, r"\[weak\] model: the shipped model"),
        (
            {"weak": SERVER, "strong": SERVER, "prm": PrmSettings("embedded")},
            r"\[prm\] backend: the shipped judge 'embedded' does not know what vllm/m writes: write",
        ),
        (
            {"weak": SERVER, "strong": SERVER, "prm": PrmSettings(model="prm-small")},
            r"\[prm\] model: the shipped judge",
        ),
        ({"weak": GGUF, "strong": SERVER, "prm": PrmSettings("likelihood")}, r"\[prm\] backend: the shipped judge"),
        ({"weak": OWN, "strong": SERVER, "prm": PrmSettings("embedded")}, r"\[prm\] backend: the shipped judge"),
    ],
)
def test_shipped_models_do_not_work_with_served_ones(config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config(**config)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    [
        {"weak": SERVER, "strong": SERVER},
        {"weak": GGUF, "strong": SERVER, "prm": PrmSettings("entropy")},
        {"weak": SERVER, "strong": SERVER, "prm": PrmSettings("likelihood", "strong")},
        {"weak": OWN, "strong": SERVER},
        {"weak": OWN},
        {"weak": OWN, "strong": OWN, "prm": PrmSettings("embedded")},
        {"prm": PrmSettings("vllm", "m", "http://x")},  # a judge to be evaluated by itself
    ],
)
def test_what_may_work_together(config: dict[str, object]) -> None:
    Config(**config)  # type: ignore[arg-type]


def test_what_requests_say_besides() -> None:
    body: object = {"provider": {"order": ["x"]}}
    settings = ModelSettings("vllm", "m", omit=("temperature",), extra_body=body, headers={"X-Team": "a"})  # type: ignore[arg-type]
    assert json.loads(settings.extra_body) == body
    assert replace(settings, extra_body='{"a": 1}').extra_body == '{"a": 1}'
    assert hash(settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra_body": "[1]"}, "extra_body: it must be a table, or the text of a JSON object"),
        ({"extra_body": {"a": date(2026, 1, 1)}}, "extra_body: it must hold texts, numbers"),
        ({"extra_body": {"stream": False}}, "extra_body: 'stream' is a part of every request"),
        ({"headers": {"X Y": "a"}}, "headers: 'X Y' is no name of a header"),
        ({"headers": {"X": "secret\n"}}, "headers: the value of X must be a text of ASCII characters on one line$"),
        ({"headers": {"X": 3}}, "headers: the value of X must be a text"),
        ({"omit": "temperature"}, "omit = 'temperature' must be a list of strings"),
    ],
)
def test_wrong_additions_to_requests(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ModelSettings("vllm", "m", **changes)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
