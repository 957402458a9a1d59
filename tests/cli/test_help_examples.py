"""The examples of every `--help`: they parse, and those that need no servers run, with fewer questions."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from trim.cli.main import COMMANDS, main, parser


def described(command: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A command and the commands in it."""
    nested = [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]
    return [command, *(inner for action in nested for child in action.choices.values() for inner in described(child))]


def examples(command: str) -> list[list[str]]:
    """Arguments of each example in a command's help."""
    found = []
    made = parser(command)
    chosen = next(action for action in made._actions if isinstance(action, argparse._SubParsersAction)).choices[command]
    for one in described(chosen):
        text = (one.description or "").partition("\nexample")[2].partition("\n")[2]
        text = re.sub(r"\\\n\s*", " ", text)
        for line in text.splitlines():
            head, is_command, rest = line.partition("trim ")
            if is_command and not head.strip():
                found.append(shlex.split(rest.split("   ")[0]))
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_parse(command: str) -> None:
    found = examples(command)
    assert found
    for arguments in found:
        args = parser(arguments[0]).parse_args(arguments)
        assert callable(args.run)


def fewer(arguments: list[str], questions: int) -> list[str]:
    """The same with a few questions."""
    changed = list(arguments)
    if "--questions" in changed:
        changed[changed.index("--questions") + 1] = str(questions)
    elif changed[0] in ("eval", "record", "plan") and "--replay" not in changed:
        changed += ["--questions", str(questions)]
    return changed


def test_the_examples_of_record_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recording, replaying = examples("record")
    assert main(fewer(recording, 3)) == 0
    assert main(replaying) == 0


def test_an_example_of_plan_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(fewer(examples("plan")[0], 5)) == 0


def test_the_examples_of_key_and_solve_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (examples("key")[0], examples("solve")[0]):
        assert main(arguments) == 0
