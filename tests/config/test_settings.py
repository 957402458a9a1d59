"""Settings: what is accepted, and how what is not is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from trim.config.settings import Config, load_config
from trim.errors import ConfigError
from trim.policies import Threshold

SERVERS = """
[weak]
backend = "vllm"
base_url = "http://127.0.0.1:8001/v1"
model = "weak"
template = "chatml"
[weak.prices]
prompt = 0.1
completion = 1
[strong]
backend = "sglang"
base_url = "http://127.0.0.1:8002/v1"
model = "strong"
on_error = "weak"
[prm]
backend = "vllm"
base_url = "http://127.0.0.1:8003"
model = "prm"
on_error = "strong"
[policy]
name = "threshold+2"
parameter = 0.7
[budget]
max_strong_tokens = 300
[generation]
separator = "newline"
lookahead = 2
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "trim.toml"
    path.write_text(text)
    return path


def test_a_whole_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, SERVERS))
    assert config.weak.prices.completion == 1.0
    assert config.limits().lookahead == 2
    assert config.form().joiner == "\n"
    policy = config.build_policy()
    assert policy == Threshold(0.7, resamples=2, name="threshold+2")
    assert config.prices().weak.completion == 1.0
    assert config.names()["strong"] == "sglang:strong at http://127.0.0.1:8002/v1"


def test_without_a_file_the_embedded_pair(tmp_path: Path) -> None:
    assert load_config(None) == Config() == load_config(write(tmp_path, ""))
    assert load_config(None).prices().strong.completion > load_config(None).prices().weak.completion


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[weka]\n", r"unknown table \[weka\]; did you mean 'weak'\?"),
        ("[weak]\n\nbase_ulr = 'x'", r":3: \[weak\] unknown key 'base_ulr'; did you mean 'base_url'\?"),
        ("[weak]\nbackend = 'vlm'", r":2: \[weak\] backend = 'vlm' is not one of .*did you mean 'vllm'\?"),
        ("[weak]\nbackend = 'vllm'", "needs base_url"),
        ("[weak]\nbackend = 'vllm'\nbase_url = 'localhost:1'\nmodel = 'm'", "must begin with http"),
        ("[weak]\ntimeout = 'long'", r":2: \[weak\] timeout = 'long' must be a number"),
        ("[weak]\ntimeout = 0", "timeout"),
        ("[weak]\nretries = 1.5", "must be a whole number"),
        ("[weak]\nretries = true", "must be a whole number"),
        ("[weak]\non_error = 'weak'", "the role that failed"),
        ("[weak.prices]\ncompletion = '1'", r"\[weak.prices\] completion"),
        ("[weak.prices]\nprompt = -1", r"\[weak.prices\] must be 0 or more"),
        ("weak = 3", "must be a table"),
        ("[generation]\ntop_p = 0", "top_p"),
        ("[generation]\nlookahead = -1", "lookahead"),
        ("[generation]\nmax_steps = 0", "max_steps"),
        ("[budget]\nmax_strong_tokens = -1", "must be 0 or more"),
        ("[budget]\nmax_cost = nan", "must be 0 or more"),
        ("[policy]\nname = 'thresold'", "unknown policy 'thresold'"),
        ("[policy]\nparameter = 2.0", r"\[0, 1\]"),
        ("[weak", "is no TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")
