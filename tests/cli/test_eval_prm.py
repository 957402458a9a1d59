"""`trim eval-prm` on the shipped scorer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trim.cli.main import main
from trim.tasks import FAMILIES


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reference solutions of arithmetic chains, half of them with an error in one step, in ProcessBench's format."""
    path = tmp_path_factory.mktemp("data") / "labelled.jsonl"
    rows = []
    for number, question in enumerate(FAMILIES["arithmetic_chain"].problems(910_000, 24, level="easy")):
        steps, label = list(question.reference_steps), -1
        if number % 2:
            label = number % (len(steps) - 1)
            steps[label] = steps[label][:-1] + str((int(steps[label][-1]) + 4) % 10)
        rows.append({"problem": question.text, "steps": steps, "label": label})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_shipped_scorer_is_judged_and_recalibrated(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = tmp_path / "curve.json"
    assert main(["eval-prm", str(labelled), "--json", "--recalibrate", "temperature", "--out", str(curve)]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["solutions"] == 24
    assert found["auroc"]["value"] > 0.8
    assert found["f1"]["low"] <= found["f1"]["value"] <= found["f1"]["high"]
    assert sum(tenth["count"] for tenth in found["bins"]) == found["steps"]
    assert found["seconds_per_step"] > 0
    assert "held-out" in said.err
    config = tmp_path / "trim.toml"
    config.write_text(f'[prm]\nrecalibration = "{curve}"\n')
    assert main(["eval-prm", str(labelled), "--config", str(config)]) == 0
    said = capsys.readouterr()
    assert "through curve.json" in said.out


def test_scorers_are_compared_on_one_table(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scorers = "embedded,likelihood,log-probability=strong,entropy"
    assert main(["eval-prm", str(labelled), "--scorers", scorers, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == scorers.split(",")
    assert {figures["steps"] for figures in found.values()} == {found["embedded"]["steps"]}
    assert all(found[name]["auroc"]["value"] > 0.7 for name in ("embedded", "likelihood", "log-probability=strong"))
    assert main(["eval-prm", str(labelled), "--scorers", "entropy", "--solutions", "12"]) == 0
    assert "entropy" in capsys.readouterr().out
    for wrong, words in (("guess", "no 'guess'"), ("yes-no", "needs base_url")):
        assert main(["eval-prm", str(labelled), "--scorers", wrong]) == 2
        assert words in capsys.readouterr().err


def test_invalid_data_for_judging_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"problem": "x"}\n')
    for arguments, words in (
        ([str(bad)], "ProcessBench"),
        ([str(bad), "--recalibrate", "isotonic"], "go together"),
        ([str(tmp_path)], "--task"),
        ([str(bad), "--threshold", "7"], "must lie in"),
    ):
        assert main(["eval-prm", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_a_dry_run_and_a_limit(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judge = ["--judge", "vllm/my-prm@http://127.0.0.1:9"]
    assert main(["eval-prm", str(labelled), *judge, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "would make 24 scored solutions (0 are there): 1 judge x 24 solutions" in printed
    assert "model calls: about 24" in printed
    assert main(["eval-prm", str(labelled), "--scorers", "embedded,likelihood", "--dry-run"]) == 0
    assert "2 judges x 24 solutions" in (printed := capsys.readouterr().out)
    assert "cost: about $0.00" in printed
    assert main(["eval-prm", str(labelled), "--max-cost", "0.00001"]) == 2
    assert "stopped by --max-cost 1e-05 at $" in capsys.readouterr().err
    assert main(["eval-prm", str(labelled), *judge, "--max-cost", "1"]) == 2
    assert "--max-cost needs every price, and [prm.prices] prompt is not set" in capsys.readouterr().err


def test_models_may_be_named_for_a_judge_that_reads_them(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--weak", "vllm/small@http://127.0.0.1:9", "--strong", "vllm/big@http://127.0.0.1:9", "--judge", "strong"]
    assert main(["eval-prm", str(labelled), *named, "--dry-run"]) == 0
    assert "judge: yes-no:big at http://127.0.0.1:9/v1" in capsys.readouterr().out
