"""The commands as a user runs them, on the shipped models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import QUESTION, trim
from trim.cli.main import COMMANDS, main


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["eval", "--task", "nothing", "--out", "x"], "unknown task 'nothing'"),
        (["eval", "--policies", "best", "--out", "x"], "unknown policy 'best'"),
        (["eval", "--policies", "threshold", "--parameters", "random=0.1", "--out", "x"], "not among --policies"),
        (["eval", "--policies", "threshold", "--parameters", "threshold=abc", "--out", "x"], "write POLICY=NUMBER"),
        (["eval", "--policies", "threshold", "--parameters", "threshold=7", "--out", "x"], "[0, 1]"),
        (["eval", "--policies", "threshold", "--questions", "1", "--out", os.devnull], "cannot be made"),
        (["fit", "pomdp", "nodir", "--out", "x"], "trim: nodir: there is no such folder"),
        (["eval-prm", "nodir"], "trim: nodir: there is no such folder"),
        (["eval-prm", "none.jsonl"], "trim: none.jsonl: there is no such file"),
        (["report", "nodir"], "trim: nodir: there is no such folder"),
        (["eval", "--replay", "nodir", "--out", "x"], "trim: nodir: there is no such folder"),
        (["record", "--out", os.devnull], f"{os.devnull} cannot hold a record: File exists"),
        (["slove", "q"], "there is no command 'slove'; did you mean solve? There are demo, solve, eval,"),
        (["key", " "], "the name of a key is empty"),
        (["eval", "--task", "nofile.jsonl", "--out", "x"], "trim: there is no file nofile.jsonl"),
        (["eval", "--task", "tasks.py", "--out", "x"], "task 'tasks.py': name the task in it, tasks.py:TASK"),
        (["solve", "q", "--policy", "mypol.py"], "policy 'mypol.py': name the class in it, mypol.py:CLASS"),
        (["solve", " "], "the question is empty"),
        (["solve", "how many \udcff?"], "the question is not valid UTF-8 text"),
        (["solve", "q", "--config", "missing.toml"], "missing.toml"),
        (["solve", "q", "--policy", "always-weak", "--parameter", "0.5"], "has no parameter"),
    ],
)
def test_mistakes_get_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith("trim: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    config = tmp_path / "trim.toml"
    config.write_text(
        "[weak]\nbackend = 'vllm'\nbase_url = 'http://127.0.0.1:9/v1'\nmodel = 'w'\nretries = 0\ntemplate = 'trim'\n"
    )
    for arguments in (["solve", QUESTION, "--config", str(config)], ["config", "check", str(config), "--probe"]):
        done = trim(*arguments)
        assert done.returncode == 2
        assert "127.0.0.1:9" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1
    assert trim("config", "check", str(config)).returncode == 0


def test_a_key_that_is_not_set_is_named(tmp_path: Path) -> None:
    config = tmp_path / "trim.toml"
    config.write_text(
        "[strong]\nbackend = 'vllm'\nbase_url = 'http://127.0.0.1:9/v1'\nmodel = 'w'\n"
        "api_key_env = 'TRIM_NO_SUCH_KEY'\n"
    )
    for arguments in (["solve", QUESTION, "--config", str(config)], ["config", "check", str(config)]):
        done = trim(*arguments)
        assert done.returncode == 2
        assert "TRIM_NO_SUCH_KEY" in done.stderr


@pytest.mark.parametrize("command", ["", *COMMANDS, "fit pomdp", "fit router", "config check"])
def test_help_fits_80_columns_and_has_an_example(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 79] == []
    example = next(number for number, line in enumerate(lines) if line in ("example:", "examples:"))
    assert any(line.startswith(f"  trim {command}") for line in lines[example:])
    description = lines[lines.index("") + 1 : example]
    assert len(" ".join(description)) > 40


def test_help_has_examples() -> None:
    assert "examples:" in trim("--help").stdout
    assert "--resume" in trim("eval", "--help").stdout
    assert trim("--version").stdout.startswith("trim ")


def test_the_package_runs_too() -> None:
    for module in ("trim", "trim.cli"):
        done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("trim ")
