"""The commands as a user runs them, on the shipped models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import QUESTION, SOLVABLE, trim
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
    server = "model = 'vllm/w@http://127.0.0.1:9'\nretries = 0\ntemplate = 'trim'\n"
    config.write_text(f"[weak]\n{server}[strong]\n{server}")
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
        "[weak]\nmodel = 'vllm/w'\n[strong]\nmodel = 'vllm/w@http://127.0.0.1:9'\napi_key_env = 'TRIM_NO_SUCH_KEY'\n"
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


ASCII = {"PYTHONIOENCODING": "ascii"}
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def in_environment(variables: dict[str, str], *arguments: str, stdin: bytes = b"") -> tuple[str, str]:
    """Output and errors of a command that must end well."""
    command = [sys.executable, "-m", "trim", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, env=os.environ | variables, check=False)
    errors = done.stderr.decode("ascii")
    assert done.returncode == 0, errors
    return done.stdout.decode("ascii"), errors


@pytest.mark.parametrize("variables", [ASCII, POSIX], ids=["ascii", "posix"])
def test_a_terminal_without_unicode_gets_escapes(variables: dict[str, str], tmp_path: Path) -> None:
    shown, _ = in_environment(variables, "solve", "What is 2 × 3?", "--policy", "always-weak")
    assert "answer" in shown
    for arguments, stdin in ((("solve", "2 × 3?"), b""), (("solve", "-"), "2 × 3?".encode())):
        shown, _ = in_environment(variables, *arguments, "--policy", "always-weak", "--json", stdin=stdin)
        assert json.loads(shown)["question"]["text"] == "2 × 3?"
    if variables == ASCII:
        return
    file, out = tmp_path / "aufgäben.jsonl", tmp_path / "ergebnïs"
    file.write_text('{"question": "2 × 3?", "answer": "6"}\n', "utf-8")
    in_environment(variables, "eval", "--task", str(file), "--policies", "always-weak", "--out", str(out))


def test_output_that_nobody_reads_is_no_error() -> None:
    for arguments in (["--help"], ["solve", SOLVABLE, "--policy", "always-weak"], ["config", "--help"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "trim", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 0
        process.stderr.close()


def test_output_that_cannot_be_written_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "trim", "solve", SOLVABLE, "--policy", "always-weak"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "trim: No space left on device\n")
