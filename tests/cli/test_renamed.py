"""Old names get one sentence with the new name; the program's name and its start-up cost."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trim.cli.main import COMMANDS, main, parser
from trim.cli.renamed import OPTIONS


@pytest.mark.parametrize(("command", "old"), OPTIONS)
@pytest.mark.parametrize("value", ["", "=3"])
def test_old_options_name_the_new_ones(command: str, old: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    new = OPTIONS[command, old]
    assert main([*command.split(), "folder", old + value]) == 2
    said = capsys.readouterr()
    assert said.err == f"trim: trim {command} {old} is called {new} now\n"
    assert said.out == ""


@pytest.mark.parametrize(("command", "old"), OPTIONS)
def test_new_options_exist_and_old_ones_do_not(command: str, old: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert OPTIONS[command, old] in words
    assert old not in words


def test_other_commands_may_use_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["solve", "--bill"])
    assert "now" not in capsys.readouterr().err


def test_every_command_registers_and_describes_itself(capsys: pytest.CaptureFixture[str]) -> None:
    parser()  # all of them at once
    for command in COMMANDS:
        with pytest.raises(SystemExit) as done:
            main([command, "--help"])
        assert done.value.code == 0
        assert f"usage: trim {command}" in capsys.readouterr().out


def test_the_module_runs_under_the_program_name() -> None:
    done = subprocess.run([sys.executable, "-m", "trim", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: trim ")
    for command in COMMANDS:
        assert f"\n    {command}" in done.stdout
    wrong = subprocess.run([sys.executable, "-m", "trim", "evaluate"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("trim: there is no command 'evaluate'; did you mean eval? There are demo, ")
