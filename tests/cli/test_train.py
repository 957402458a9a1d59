"""`trim train`, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trim.cli.main import main
from trim.reporting.training_plots import read_metrics

SMALL = ["--episodes", "40", "--batch", "20", "--validation", "5", "--questions", "50"]


def test_train_writes_a_policy_and_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    out = tmp_path / "agg"
    assert main(["train", "agg", *SMALL, "--out", str(out), "--json"]) == 0
    reached = json.loads(capsys.readouterr().out)
    assert reached["episodes"] == 40
    assert reached["validation"]["value"] == max(row["validation"]["value"] for row in rows(out) if row["validation"])
    assert {path.name for path in out.iterdir()} == {
        *("policy.json", "arrays.npz", "checkpoint.npz", "metrics.jsonl", "training.json", "curves.png")
    }
    assert main(["train", "agg", *SMALL, "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", "agg", *SMALL, "--out", str(out), "--resume", "--seed", "1"]) == 2
    assert "holds another training: settings.seed 0 -> 1; choose another --out" in capsys.readouterr().err
    found = json.loads((out / "training.json").read_text())
    renamed = {"total_episodes": "episodes", "episodes_per_update": "batch", "learning_rate": "rate"}
    found["settings"] = {renamed.get(name, name): value for name, value in found["settings"].items()}
    (out / "training.json").write_text(json.dumps(found))  # as version 0.1 wrote it
    assert main(["train", "agg", *SMALL, "--out", str(out), "--resume"]) == 0
    assert "learning_rate" in json.loads((out / "training.json").read_text())["settings"]
    assert len(rows(out)) == 2
    assert main(["train", "agg", *SMALL, "--out", str(tmp_path / "next"), "--start", str(out)]) == 0
    assert f"agg={tmp_path / 'next'}" in capsys.readouterr().out


def rows(folder: Path) -> list[dict[str, Any]]:
    return read_metrics(folder / "metrics.jsonl")


def test_more_actions_and_the_embedded_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    out = tmp_path / "seq"
    few = [*("--episodes", "2", "--batch", "2", "--validation", "1", "--questions", "2")]
    few += ["--actions", "continue,resample,regenerate"]
    assert main(["train", "seq", "--source", "embedded", *few, "--weak-price", "0.05", "--out", str(out)]) == 0
    assert json.loads((out / "policy.json").read_text())["settings"]["actions"] == "CONTINUE,REGENERATE,RESAMPLE"
    capsys.readouterr()
    assert main(["solve", "What is 2 + 3?", "--policy", f"seq={out}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy"] == "seq"


@pytest.mark.filterwarnings("default")  # other people's packages
@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_trackers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    pytest.importorskip(name, reason=f"needs {name}")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    out = tmp_path / "agg"
    assert main(["train", "agg", *SMALL, "--track", name, "--out", str(out)]) == 0
    if name == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(out / "tensorboard"))
        events.Reload()
        found = [event.value for event in events.Scalars("reward")]
        assert found == pytest.approx([row["reward"] for row in rows(out)], rel=1e-5)
        assert "validation/value" in events.Tags()["scalars"]
    elif name == "wandb":
        assert list((out / "wandb").glob("offline-run-*/run-*.wandb"))
    else:
        import mlflow

        (run,) = mlflow.search_runs(experiment_names=["trim"], output_format="list")
        assert run.data.metrics["reward"] == pytest.approx(rows(out)[-1]["reward"])
        assert run.data.params["kind"] == "agg"


def test_a_tracker_that_is_not_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    monkeypatch.setattr("trim.training.trackers.find_spec", lambda name: None)
    assert main(["train", "agg", *SMALL, "--track", "wandb", "--out", str(tmp_path / "agg")]) == 2
    assert "pip install wandb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--record", "folder"], "--record goes with models"),
        (["--source", "config"], "needs --config"),
        (["--source", "embedded", "--from", "fit"], "--from goes with --source simulate"),
        (["--batch", "0"], "--batch must be at least 1"),
        (["--weak-price", "nan"], "--weak-price must be"),
        (["--from", "nowhere"], "nowhere: there is no such folder"),
        (["--start", "nowhere"], "nowhere/checkpoint.npz: there is no such file"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    assert main(["train", "agg", *SMALL, *options, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--price", "2:1"], "not a range of prices"),
        (["--actions", "RESAMPLE,REGENERATE"], "name CONTINUE"),
        (["--actions", "CONTINUE,RETRY"], "RETRY is called RESAMPLE now"),
        (["--actions", "CONTINUE,JUMP"], "name CONTINUE"),
    ],
)
def test_arguments_are_checked(capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    with pytest.raises(SystemExit):
        main(["train", "agg", *options, "--out", "x"])
    assert message in capsys.readouterr().err


def test_a_dry_run_says_what_it_takes_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "agg"
    assert main(["train", "agg", "--source", "embedded", *SMALL, "--out", str(out), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "would make 40 solutions to learn from (0 are there): 50 questions, and 5 held out" in printed
    assert "weak: embedded:weak" in printed
    assert not out.exists()
    assert main(["train", "agg", *SMALL, "--out", str(out), "--dry-run"]) == 0
    assert "simulated models" in capsys.readouterr().out


def test_a_limit_ends_a_training_before_it_is_exceeded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    few = ["train", "agg", "--source", "embedded", *SMALL, "--out", str(tmp_path / "agg")]
    assert main([*few, "--max-cost", "0.0002"]) == 2
    assert "stopped by --max-cost 0.0002 at $" in (said := capsys.readouterr().err)
    assert f"continue with: --out {tmp_path / 'agg'} --resume" in said
    assert 0 < json.loads((tmp_path / "agg" / "spend.json").read_text())["dollars"] <= 0.0002
    assert main(["train", "agg", *SMALL, "--out", str(tmp_path / "other"), "--max-cost", "1"]) == 2
    assert "--max-cost goes with models: simulated ones cost nothing" in capsys.readouterr().err


def test_models_may_be_named_in_place_of_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--weak", "vllm/small@http://127.0.0.1:9", "--strong", "vllm/big@http://127.0.0.1:9", "--judge", "strong"]
    assert main(["train", "agg", *SMALL, *named, "--out", str(tmp_path / "agg"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "strong: vllm:big at http://127.0.0.1:9/v1" in printed
    assert "cost: unknown: [weak.prices] prompt is not set" in printed
    assert main(["train", "agg", *named, "--source", "embedded", "--out", str(tmp_path / "agg")]) == 2
    assert "--source config needs --config trim.toml or --weak and --strong" in capsys.readouterr().err
