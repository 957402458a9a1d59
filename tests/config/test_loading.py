"""Configurations from files and the environment: what is accepted, and the messages for what is not."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trim.config.loading import load_config
from trim.config.policy import open_policy
from trim.config.settings import Config
from trim.config.specs import identities
from trim.config.validation import key_paths
from trim.errors import ConfigError
from trim.policies import Threshold

SERVERS = """\
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


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "trim.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(folder: Path, text: str | bytes, **environment: str) -> Config:
    return load_config(write(folder, text), environment)


def test_a_whole_file(tmp_path: Path) -> None:
    config = load(tmp_path, SERVERS)
    assert config.weak.prices.completion == 1.0
    assert config.generation.lookahead == 2
    assert open_policy(config) == Threshold(0.7, resamples=2, name="threshold+2")
    assert identities(config)["strong"] == "sglang:strong at http://127.0.0.1:8002/v1"


def test_without_a_file_the_embedded_pair(tmp_path: Path) -> None:
    assert load_config(None, {}) == Config() == load(tmp_path, "")


@pytest.mark.parametrize("text", ["\ufeff" + SERVERS, SERVERS.replace("\n", "\r\n"), "\ufeff\r\n" + SERVERS])
def test_a_byte_order_mark_and_any_line_ends_are_accepted(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == load(tmp_path, SERVERS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SERVERS.encode("utf-16"), "is not UTF-8 text (looks like UTF-16): save it as UTF-8"),
        (SERVERS.encode("utf-16-le"), "is not UTF-8 text (it has zero bytes): save it as UTF-8"),
        (b"[weak]\nmodel = '\xe9'", "is not UTF-8 text (byte 16 is wrong): save it as UTF-8"),
        (b"\x7fELF\x02", "trim.toml:1: not valid TOML: Invalid statement"),
        (b"[weak]\ntimeout = 1\ntimeout = 2\n", "trim.toml:3: not valid TOML: Cannot overwrite a value"),
        (b"[weak]\nmodel = '''\n\n", "trim.toml:2: not valid TOML: Expected \"'''\""),
        (b"a = " + b"[" * 100_000, "not valid TOML: nested too deeply"),
        (b"[weak]\ntimeout = " + b"9" * 5000, "trim.toml: not valid TOML: Exceeds the limit"),
        (b"# " + b"x" * 1_000_000, "is larger than 1,000,000 bytes: it is not a configuration"),
    ],
)
def test_what_is_not_toml(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match="null byte"):
        load_config(Path("no\0such.toml"))
    assert load(tmp_path, "") == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[weka]\n", ":1: unknown table [weka]; did you mean 'weak'?"),
        ("\n[weka.prices]\nprompt = 1", ":2: unknown table [weka]; did you mean 'weak'?"),
        ("[weak]\n\nbase_ulr = 'x'", ":3: [weak] unknown key 'base_ulr'; did you mean 'base_url'?"),
        ("[weak]\n# timeout = 0\ntimeout = 'long'", ":3: [weak] timeout = 'long' must be a number above 0"),
        ("[weak]\nbackend = 'vlm'", ":2: [weak] backend = 'vlm' must be one of 'embedded', 'gguf',"),
        ("[weak]\nbackend = 'vlm'", "; did you mean 'vllm'?"),
        ("[weak]\nbackend = 3", ":2: [weak] backend = 3 must be one of"),
        ("[weak]\nbackend = 'vllm'", ":2: [weak] backend: 'vllm' needs base_url"),
        (
            "[weak]\nbackend = 'vllm'\nbase_url = 'localhost:1'\nmodel = 'm'",
            ":3: [weak] base_url: 'localhost:1' must begin with http:// or https://",
        ),
        ("[weak]\nbase_url = 'http://x/v1'", ":2: [weak] base_url: the embedded backend has no address; set backend"),
        ("[prm]\nbase_url = 'http://x/v1'", ":2: [prm] base_url: the embedded backend has no address; set backend"),
        ("[weak]\nretries = 1.5", ":2: [weak] retries = 1.5 must be a whole number of at least 0"),
        ("[weak]\nretries = true", ":2: [weak] retries = true must be a whole number"),
        ("[weak]\n[strong]\non_error = 'weak'\n[prm]\non_error = 'prm'", ":5: [prm] on_error = 'prm' must be one of"),
        ("[strong]\non_error = 'weak'\n[weak]\non_error = 'weak'", ":4: [weak] on_error: it cannot be 'weak'"),
        ("[weak]\n[weak.prices]\ncompletion = '1'", ":3: [weak.prices] completion = '1' must be a finite number of at"),
        ("[weak.prices]\nprompt = -1", ":2: [weak.prices] prompt = -1 must be a finite number of at least 0"),
        ("[weak.prices]\nprompt = 1\n[weak.price]\n", ":3: unknown table [weak.price]; did you mean 'prices'?"),
        ("[prm.prices]\nprompt = inf", ":2: [prm.prices] prompt = inf must be a finite number of at least 0"),
        ("weak = 3", ":1: weak = 3 must be a table: [weak]"),
        ("[weak]\nprices = 3", ":2: prices = 3 must be a table: [weak.prices]"),
        ("\n[[weak]]\nmodel = 'x'\n[[weak]]", ":2: weak = [{'model': 'x'}, {}] must be a table: [weak]"),
        ("[generation]\ntop_p = 0", ":2: [generation] top_p = 0 must be a number in (0, 1]"),
        ("[generation]\nlookahead = -1", ":2: [generation] lookahead = -1 must be a whole number of at least 0"),
        ("[budget]\nmax_cost = nan", ":2: [budget] max_cost = nan must be a number of at least 0"),
        ("[policy]\nname = 'thresold'", ":2: [policy] name: unknown policy 'thresold'"),
        ("[policy]\nname = 'rsd'\nparameter = 2.0", ":3: [policy] parameter: "),
        ("temperature = 0.5\n", ":1: unknown key 'temperature'; did you mean [generation] temperature?"),
        ("[weak]\nmax_steps = 3", ":2: [weak] unknown key 'max_steps'; did you mean [generation] max_steps?"),
        ("[budget]\nzzz = 3", ":2: [budget] unknown key 'zzz'; there are max_strong_tokens, max_cost"),
        # several ways to write one key
        ("\nweak.timeout = 0", ":2: [weak] timeout = 0"),
        ("a.b = 1", ":1: unknown table [a]"),
        ("[weak]\nmodel = 'x'\nprices.cached = -1", ":3: [weak.prices] cached = -1"),
        (
            "\nweak = {model = 'x', prices = {promt = 3}}",
            ":2: [weak.prices] unknown key 'promt'; did you mean 'prompt'?",
        ),
        ("['weak'.\"prices\"]\n'prompt' = -1", ":2: [weak.prices] prompt = -1"),
        ("[ weak . prices ]\nprompt=-1", ":2: [weak.prices] prompt = -1"),
        ('[weak]\n"time out" = 1', ":2: [weak] unknown key 'time out'; did you mean 'timeout'?"),
        ('[weak]\n"a\\nb" = 1', r":2: [weak] unknown key 'a\nb'; there are"),
        # what stands before it
        ("[weak]\nsystem = '''\ntimeout = 0\n[prm]\n'''\n\n# [prm]\n\ntimeout = 0", ":9: [weak] timeout = 0"),
        ("[prm]\ntimeout = 1\n[weak]\ntimeout = 2\n[strong]\ntimeout = 0", ":6: [strong] timeout = 0"),
        ("[weak]\ntimeout = [\n 1,\n 2]\n", ":2: [weak] timeout = [1, 2] must be a number"),
        ("[prm]\r\ntimeout = 1\r\n\r\nretries = -1\r\n", ":4: [prm] retries = -1"),
        ('weak = {system = """\n""", modl = 3}', ":1: [weak] unknown key 'modl'; did you mean 'model'?"),
        # the first of several
        ("[serve]\nport = -1\n[weak]\nretries = -1\n[budget]\nmax_cost = -1", ":2: [serve] port = -1"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    said = str(caught.value)
    assert message in said
    assert said.startswith(f"{tmp_path / 'trim.toml'}:")
    assert "\n" not in said


def test_long_values_are_cut(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"[weak]\ntimeout = '{'x' * 5000}'")
    assert len(str(caught.value)) < 250 + len(str(tmp_path))


def test_the_line_of_an_error_in_a_long_file_is_found(tmp_path: Path) -> None:
    text = '[weak]\nsystem = """\n' + "line\n" * 20_000 + '"""\n' + "# comment\n" * 20_000 + "timeout = 0\n"
    with pytest.raises(ConfigError, match=r":40004: \[weak\] timeout = 0"):
        load(tmp_path, text)


FILLERS = ["", "# [weak]", "   ", "#", "# xyzzy = 1"]
TABLES: dict[str, list[str]] = {
    "weak": ["timeout = 3", "system = '''\n[prm]\nxyzzy = 1\n'''", 'model = "xyzzy = 1"', "prices.prompt = 1"],
    "prm": ["retries = 1", 'system = """\\\n  a \\\n"""'],
    "strong.prices": ["prompt = 1", "cached = 0.5"],
    "budget": ["max_cost = 1e3"],
    "generation": ["top_k = 0", "max_steps = 8"],
    "serve": ["port = 0", "host = 'xyzzy'"],
}


@st.composite
def files_with_an_unknown_key(draw: st.DrawFn) -> tuple[str, int, str]:
    """A text, the line on which a key stands that does not exist, and the table that it stands in."""
    chosen = draw(st.permutations(list(TABLES)))
    where = draw(st.sampled_from(chosen))
    lines: list[str] = draw(st.lists(st.sampled_from(FILLERS), max_size=3))
    found = 0
    for table in chosen:
        inside = draw(st.permutations(TABLES[table]))
        position = draw(st.integers(0, len(inside))) if table == where else -1
        lines.append(f"[{table}]")
        for index, statement in enumerate([*inside, ""]):
            lines += draw(st.lists(st.sampled_from(FILLERS), max_size=2))
            if index == position:
                key = draw(st.sampled_from(["xyzzy", '"xyzzy"', "'xyzzy' ", "xyzzy . a", "  xyzzy"]))
                lines.append(f"{key} = {draw(st.sampled_from(['1', 'true', '[1]', '{a = 1}']))} # here")
                found = sum(line.count("\n") + 1 for line in lines)
            lines.append(statement)
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join(lines).replace("\r\n", "\n").replace("\n", end), found, where


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files_with_an_unknown_key())
def test_an_unknown_key_at_any_place_is_named_with_its_line(tmp_path: Path, made: tuple[str, int, str]) -> None:
    text, line, table = made
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'trim.toml'}:{line}: ")
    assert f"[{table}] unknown key 'xyzzy'" in said or f"unknown table [{table}.xyzzy]" in said


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(key_paths(Config)), st.sampled_from([[], {}, "", -1, 1e400, True, "2020-01-01"]), st.data())
def test_a_wrong_value_of_any_key_is_one_sentence(
    tmp_path: Path, key: tuple[str, ...], value: Any, data: st.DataObject
) -> None:
    comments = data.draw(st.integers(0, 3))
    written = {"[]": "[]", "{}": "{}", "inf": "inf", "True": "true"}.get(str(value), repr(value))
    text = "#\n" * comments + f"{'.'.join(key)} = {written}"
    try:
        load(tmp_path, text)
    except ConfigError as error:
        assert str(error).startswith(f"{tmp_path / 'trim.toml'}:{comments + 1}: ")
        assert key[-1] in str(error)
        assert "\n" not in str(error)


def test_the_environment_overrides_a_file(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        SERVERS,
        TRIM_WEAK__BASE_URL="https://elsewhere/v1",
        TRIM_WEAK__PRICES__PROMPT="3",
        TRIM_STRONG__PRICES__PROMPT="4",
        TRIM_STRONG__PRICES__COMPLETION="5",
        TRIM_PRM__PRICES__PROMPT="7",
        TRIM_GENERATION__MAX_STEPS="8",
        TRIM_SERVE__LOG_QUESTIONS="true",
        TRIM_STRONG__MODEL="17",
        TRIM_STRONG__ON_ERROR="raise",
        TRIM_BUDGET__MAX_COST="1e-3",
        TRIM_DATA="a folder",
        OTHER__THING="x",
    )
    assert config.weak.base_url == "https://elsewhere/v1"
    assert (config.weak.prices.prompt, config.weak.prices.completion) == (3.0, 1.0)
    assert (config.generation.max_steps, config.generation.lookahead) == (8, 2)
    assert config.serve.log_questions is True
    assert (config.strong.model, config.strong.on_error) == ("17", "raise")
    assert (config.budget.max_cost, config.budget.max_strong_tokens) == (1e-3, 300)


def test_the_environment_works_without_a_file() -> None:
    config = load_config(None, {"TRIM_WEAK__TIMEOUT": "5", "TRIM_STRONG__PRICES__COMPLETION": "9"})
    assert config.weak.timeout == 5.0
    assert config.weak.prices == Config().weak.prices  # of the embedded model, which it still is
    assert (config.strong.prices.completion, config.strong.prices.prompt) == (9.0, Config().strong.prices.prompt)
    server = {"TRIM_WEAK__BACKEND": "vllm", "TRIM_WEAK__BASE_URL": "http://x/v1", "TRIM_WEAK__MODEL": "m"}
    server["TRIM_STRONG__MODEL"] = "openai/gpt"
    assert load_config(None, server).weak.prices.completion is None  # not known, which is not 0


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIM_SERVE__PORT", "0")
    assert load_config(None).serve.port == 0


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TRIM_WEEK__MODEL": "x"}, "TRIM_WEEK__MODEL: .*no such key.* did you mean TRIM_WEAK__MODEL"),
        ({"TRIM_X__Y": "x"}, r"TRIM_X__Y: there is no table \[x\] in the configuration; there are weak, strong, prm,"),
        ({"TRIM_WEAK__BASEURL": "x"}, "did you mean TRIM_WEAK__BASE_URL"),
        ({"TRIM_WEAK__PRICES": "3"}, "TRIM_WEAK__PRICES: .*no such key.* did you mean TRIM_WEAK__PRICES__"),
        ({"TRIM_WEAK__TIMEOUT": "long"}, r"^TRIM_WEAK__TIMEOUT: \[weak\] timeout = 'long' must be a number above 0"),
        ({"TRIM_WEAK__TIMEOUT": ""}, "TRIM_WEAK__TIMEOUT: .* must be a number above 0"),
        ({"TRIM_WEAK__RETRIES": "1\nmodel = 3"}, "TRIM_WEAK__RETRIES: .* must be a whole number"),
        ({"TRIM_WEAK__BACKEND": "vlm"}, "TRIM_WEAK__BACKEND: .*did you mean 'vllm'"),
        (
            {"TRIM_WEAK__BASE_URL": "http://x/v1"},
            r"^TRIM_WEAK__BASE_URL: \[weak\] base_url: the embedded backend has no",
        ),
        ({"TRIM_WEAK__BACKEND": "vllm"}, "TRIM_WEAK__BACKEND: .* needs base_url"),
    ],
)
def test_a_wrong_override_names_the_variable(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(None, environment)
    assert "\n" not in str(caught.value)


def test_an_override_of_what_the_file_has_wrong(tmp_path: Path) -> None:
    assert load(tmp_path, "[weak]\ntimeout = 0", TRIM_WEAK__TIMEOUT="1").weak.timeout == 1.0
    with pytest.raises(ConfigError, match=r":1: weak = 3 must be a table"):
        load(tmp_path, "weak = 3", TRIM_WEAK__TIMEOUT="1")


def test_old_names_are_read_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = load(tmp_path, "[serve]\nstrong_share = 0.2\nfailures = 2\ncooldown = 3")
    assert (config.serve.target_strong_share, config.serve.breaker_failures) == (0.2, 2)
    assert config.serve.breaker_cooldown == 3.0
    said = [record.getMessage() for record in caplog.records]
    assert said[0].endswith(":2: [serve] strong_share is now called target_strong_share; the old name still works")
    assert len(said) == 3
    assert load_config(None, {"TRIM_SERVE__FAILURES": "9"}).serve.breaker_failures == 9


def test_an_error_about_an_old_name_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r":2: \[serve\] target_strong_share = 2.0 must be"):
        load(tmp_path, "[serve]\nstrong_share = 2.0")
    with pytest.raises(ConfigError, match=r":3: \[serve\] failures is the old name of breaker_failures: leave it out"):
        load(tmp_path, "[serve]\nbreaker_failures = 1\nfailures = 1")


def test_models_by_name_in_a_file_and_the_environment(tmp_path: Path) -> None:
    names = "[weak]\nmodel = 'ollama/small'\nbase_url = 'http://box:1/v1'\n[strong]\nmodel = 'openai/gpt'\n"
    config = load(tmp_path, names + "[prm]\nmodel = 'vllm/my-prm@http://gpu:8003'")
    assert identities(config) == {
        "weak": "ollama:small at http://box:1/v1",
        "strong": "openai:gpt at https://api.openai.com/v1",
        "prm": "vllm:my-prm at http://gpu:8003",
    }
    assert (config.strong.api_key_env, config.strong.continuation) == ("OPENAI_API_KEY", "instruct")
    assert load(tmp_path, names, TRIM_WEAK__MODEL="vllm/other").weak.backend == "vllm"
    given = {"TRIM_WEAK__MODEL": "ollama/a", "TRIM_STRONG__MODEL": "ollama/b", "TRIM_PRM__MODEL": "strong"}
    assert identities(load_config(None, given))["prm"] == "yes-no:b at http://127.0.0.1:11434/v1"
    on_a_server = "[weak]\nbackend = 'vllm'\nbase_url = 'http://gpu:1/v1'\n" + names.partition("\n[strong]")[1]
    of_the_server = load(tmp_path, on_a_server + "\nmodel = 'ollama/b'", TRIM_WEAK__MODEL="openai/gpt-oss-20b").weak
    assert (of_the_server.backend, of_the_server.model) == ("vllm", "openai/gpt-oss-20b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[weak]\n\nmodel = 'olama/x'", ":3: [weak] model: 'olama/x': did you mean ollama/x?"),
        ("[weak]\nmodel = 'vllm/x@gpu:8001'", ":2: [weak] model: 'vllm/x@gpu:8001': an address begins with http://"),
        ("[prm]\nmodel = 'azure/x'", ":2: [prm] model: 'azure/x': say where it is"),
    ],
)
def test_a_wrong_name_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(tmp_path, text)


def test_models_that_are_named_take_the_place_of_those_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, SERVERS + "[generation]\nmax_steps = 7\n".replace("[generation]\n", ""))
    models = {"weak": "ollama/small", "strong": None, "judge": "strong"}
    config = load_config(path, {"TRIM_WEAK__SYSTEM": "Be brief."}, models)
    assert (config.weak.backend, config.weak.base_url) == ("ollama", "http://127.0.0.1:11434/v1")
    assert (config.weak.system, config.weak.prices.completion) == ("Be brief.", None)  # prices were the other model's
    assert (config.strong.backend, config.strong.on_error) == ("sglang", "weak")
    assert (config.prm.model, config.prm.on_error) == ("strong", "strong")
    assert (config.generation.max_steps, config.policy.name) == (7, "threshold+2")
    without = load_config(None, {}, {"weak": "ollama/a", "strong": "ollama/b", "judge": "strong"})
    assert identities(without)["prm"] == "yes-no:b at http://127.0.0.1:11434/v1"
    assert load_config(None, {}, {"weak": "embedded", "judge": "likelihood"}).prm.backend == "likelihood"


def test_a_wrong_model_that_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[strong\] model 'gpt' is no model's name: write KIND/MODEL"):
        load_config(None, {}, {"strong": "gpt"})
    with pytest.raises(ConfigError, match="there is no role 'prm'; there are weak, strong and judge"):
        load_config(None, {}, {"prm": "strong"})
    with pytest.raises(ConfigError, match="weak = 3 must be a table"):
        load_config(write(tmp_path, "weak = 3"), {}, {"weak": "ollama/x"})


def test_served_and_shipped_models_in_one_file(tmp_path: Path) -> None:
    served = "[weak]\nmodel = 'ollama/a'\n[strong]\nmodel = 'ollama/b'\n"
    with pytest.raises(
        ConfigError, match=r":6: \[prm\] backend: the shipped judge 'embedded' does not know what ollama/a"
    ):
        load(tmp_path, served + "[prm]\n" + "backend = 'embedded'")
    with pytest.raises(
        ConfigError, match=r"trim.toml: \[strong\] model: .* write \[strong\] model = 'KIND/MODEL', or --strong"
    ):
        load(tmp_path, "[weak]\nmodel = 'ollama/a'")
    with pytest.raises(
        ConfigError, match=r"^\[weak\] model: the shipped model does not work with ollama/a as \[strong\]"
    ):
        load_config(None, {}, {"strong": "ollama/a"})
    assert load(tmp_path, served + "[prm]\non_error = 'weak'").prm.backend == "auto"


def test_ollama_is_where_its_variable_says(tmp_path: Path) -> None:
    here = {"OLLAMA_HOST": "gpu"}
    tables = "[weak]\nmodel = 'ollama/small'\n[strong]\nbackend = 'ollama'\nmodel = 'big'\n"
    config = load(tmp_path, tables + "[prm]\nbackend = 'ollama'\nmodel = 'judge'", **here)
    assert {config.weak.base_url, config.strong.base_url, config.prm.base_url} == {"http://gpu:11434/v1"}
    there = load(tmp_path, tables + "base_url = 'http://other:1/v1'", **here)
    assert (there.weak.base_url, there.strong.base_url) == ("http://gpu:11434/v1", "http://other:1/v1")
    named = load_config(None, {"OLLAMA_HOST": "0.0.0.0:8000"}, {"weak": "ollama/a", "strong": "ollama/b"})
    assert named.weak.base_url == "http://127.0.0.1:8000/v1"


def test_the_address_that_a_provider_has_in_the_environment(tmp_path: Path) -> None:
    azure = {"AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com/"}
    url = "https://mine.openai.azure.com/openai/v1"
    names = "[weak]\nmodel = 'azure/small'\n[strong]\nmodel = 'azure/big@https://other.azure.com/openai/v1'\n"
    config = load(tmp_path, names + "[prm]\nmodel = 'azure/judge'", **azure)
    assert (config.weak.base_url, config.prm.base_url) == (url, url)
    assert config.strong.base_url == "https://other.azure.com/openai/v1"
    named = load_config(None, azure, {"weak": "azure/small", "strong": "openai/gpt", "judge": "azure/judge"})
    assert (named.weak.model, named.weak.base_url, named.prm.model) == ("small", url, "judge")
    assert named.strong.base_url == "https://api.openai.com/v1"
    with pytest.raises(ConfigError, match=r"say where it is: azure/small@.* or set AZURE_OPENAI_ENDPOINT"):
        load(tmp_path, names)
