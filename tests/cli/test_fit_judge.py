"""`trim fit judge` on the embedded weak model, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import write_run
from trim.cli.main import main
from trim.config.judge_notes import judge_note
from trim.config.loading import load_config
from trim.policies import AlwaysWeak
from trim.scoring.fitted_model import FittedModel
from trim.tasks import FAMILIES
from trim.traces import TraceWriter, read_traces


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reference solutions of arithmetic chains, three in four with an error in one step, in ProcessBench's format."""
    path = tmp_path_factory.mktemp("data") / "labelled.jsonl"
    rows = []
    for number, question in enumerate(FAMILIES["arithmetic_chain"].problems(910_000, 40, level="easy")):
        steps, label = list(question.reference_steps), -1
        if number % 4:
            label = number % (len(steps) - 1)
            steps[label] = steps[label][:-1] + str((int(steps[label][-1]) + 4) % 10)
        rows.append({"problem": question.text, "steps": steps, "label": label})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_weak_model_knows_an_error_when_it_reads_one(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "judge.json"
    assert main(["fit", "judge", str(labelled), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}; use it: --judge {out}" in said
    judge = FittedModel.load(out)
    assert (judge.name, judge.models, judge.target, judge.needs_entropy) == ("judge", ("weak",), "step", False)
    assert judge.measured[0].auroc > 0.8
    assert judge.measured[0].data == "labelled by weak, labels by people, five-fold by question"
    config = load_config(None, models={"weak": None, "strong": None, "judge": str(out)})
    note = judge_note(config)
    assert note.judge.startswith("judge, ")
    assert not note.warning


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """A run whose steps' log-probabilities say nothing of which are right."""
    folder = write_run(tmp_path / "run", [AlwaysWeak()], 120)
    traces = list(read_traces(folder / "traces.jsonl"))
    (folder / "traces.jsonl").unlink()
    with TraceWriter(folder / "traces.jsonl") as writer:
        for number, trace in enumerate(traces):
            decisions = tuple(
                replace(
                    decision,
                    step=replace(
                        decision.step,
                        tokens=9 + (number * 7 + index * 5) % 11,
                        logprob=-0.1,
                        least_logprob=-0.1 * ((number + index) % 7),
                    ),
                )
                for index, decision in enumerate(trace.decisions)
            )
            writer.append(replace(trace, decisions=decisions, correct=number % 3 == 0))
    return folder


def test_a_coin_is_not_written(noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "judge.json"
    command = ["fit", "judge", str(noisy), "--labels", "answer", "--out", str(out)]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "is a coin (AUROC 0." in error
    assert "--force" in error
    assert not out.exists()
    assert main([*command, "--force"]) == 0
    assert FittedModel.load(out).target == "answer"


def test_traces_without_log_probabilities_say_how_to_record_them(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "judge", str(run), "--out", str(tmp_path / "judge.json")]) == 2
    assert "--judge fitted" in capsys.readouterr().err
    assert main(["fit", "judge", str(run), "--out", str(tmp_path / "judge")]) == 2
    assert "ends in .json" in capsys.readouterr().err
