"""`trim explain` on a fitted policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from trim.cli.main import main


def test_explain_says_where_the_decision_flips(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["explain", str(fitted), "--step", "2", "--scores", ".9,.8,.3", "--tokens", "40"]
    assert main(command) == 0
    assert "decision: REGENERATE" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert sum(values["belief"].values()) == pytest.approx(1)
    assert values["gain"] > values["cost"]
    for factor, action in ((0.99, "REGENERATE"), (1.01, "CONTINUE")):
        assert main([*command, "--json", "--price", str(values["flip_price"] * factor)]) == 0
        assert json.loads(capsys.readouterr().out)["action"] == action
    assert main([*command, "--final"]) == 0
    assert "final draft" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["explain", "absent", "--scores", ".5", "--tokens", "4"], "absent: there is no such folder"),
        (["explain", "FIT", "--step", "2", "--scores", ".5", "--tokens", "4"], "needs 3 scores"),
        (["explain", "FIT", "--scores", ".5", "--tokens", "4", "--price", "-1"], "must not be negative"),
    ],
)
def test_explanations_that_cannot_be_made_get_one_sentence(
    arguments: list[str], sentence: str, refused: Callable[[Sequence[str]], str]
) -> None:
    assert sentence in refused(arguments)
