"""`trim plan` as a user runs it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pomdp.instances import small
from trim.cli.main import main
from trim.policies.artifacts import Models, Provenance
from trim.policies.pomdp import PomdpPolicy

PAIR = ["plan", "--weak-solves", "0.4", "--strong-accuracy", "0.97", "--questions", "16"]


@pytest.mark.usefixtures("drawn")
def test_a_described_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([*PAIR, "--strong-price", "10", "--weak-price", "0", "--prm-price", "0", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "of the way from" in " ".join(captured.out.split())
    results = json.loads((out / "results.json").read_text())
    points = results["operating_points"]
    assert list(dict.fromkeys(p["policy"] for p in points)) == [
        "always-weak", "always-strong", "random", "threshold", "pomdp",
    ]  # fmt: skip
    assert all(p["questions"] == 16 for p in points)
    strong = points[1]
    assert strong["cost"] == pytest.approx(10 * strong["strong_tokens"] / 1e6)
    assert "40.0% of questions alone" in results["models"]["weak"]
    assert (out / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert main([*PAIR, "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_fitted_pair_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = PomdpPolicy(replace(small((0.1, 0.3, 0.5)), step_tokens=40), 0.01)
    policy.save(tmp_path / "fit", Provenance(Models("w", "s", "p"), "t", "2026-11-25", 100))
    arguments = ["plan", "--from", str(tmp_path / "fit"), "--questions", "10", "--json"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["generation"]["ends"] == [0.0, 0.1, 0.3, 0.5]
    assert main([*arguments, "--steps", "4", "--out", str(tmp_path / "other")]) == 2
    assert "--steps and --from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "how good is the weak model?"),
        (["--weak-solves", "0.4"], "how good is the strong model?"),
        (["--weak-solves", "1", "--strong-solves", "0.9"], "must lie between 0 and 1"),
        (["--weak-accuracy", "7", "--strong-solves", "0.9"], "step accuracies"),
        (["--weak-solves", "0.4", "--strong-solves", "0.8", "--repair-accuracy", "0.1"], "repair_accuracy 0.1"),
        (["--weak-solves", "0.4", "--strong-solves", "0.8", "--prm-quality", "0.2"], "accuracy must lie"),
        (["--weak-solves", "0.4", "--strong-solves", "0.8", "--steps", "99"], "--steps must lie"),
        (["--weak-solves", "0.4", "--strong-solves", "0.8", "--strong-price", "-1"], "a price must be"),
        (["--weak-solves", "0.4", "--strong-solves", "0.8", "--prm-scores", "none.json"], "none.json"),
        (["--from", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_get_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [PAIR, ["record"], ["eval"], ["eval-prm", "data", "--solutions", "0"]])
def test_counts_are_checked_as_options(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command, *([] if "--solutions" in command else ["--questions", "0"]), "--out", "x"])
    assert "'0' is not a whole number from 1" in capsys.readouterr().err


def test_no_advice_without_an_accuracy_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = ["--weak-accuracy", "0.9", "--strong-accuracy", "0.6", "--questions", "10"]
    assert main(["plan", *pair, "--out", str(tmp_path)]) == 0
    assert "nothing to gain" in " ".join(capsys.readouterr().out.split())


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert "examples:" in capsys.readouterr().out
