"""The examples of a policy, a judge and a task of the user's own, through the command line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from trim.cli.main import main
from trim.testing import check_policy
from trim.types import Question

ROOT = Path(__file__).parents[1]


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def evaluated(folder: Path, *arguments: str) -> dict[str, list[dict[str, object]]]:
    """The operating points by policy."""
    assert main(["eval", *arguments, "--out", str(folder)]) == 0
    points: dict[str, list[dict[str, object]]] = {}
    for point in json.loads((folder / "results.json").read_text())["operating_points"]:
        points.setdefault(point["policy"], []).append(point)
    return points


def test_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    name = "examples/own_policy.py:SecondChance"
    points = evaluated(tmp_path / "swept", "--policies", f"always-weak,{name}", "--questions", "3")
    assert [point["parameter"] for point in points["second-chance"]] == [0.3, 0.5, 0.7, 0.9]
    chosen = ("--parameters", f"{name}=0.8", "--questions", "2")
    points = evaluated(tmp_path / "chosen", "--policies", name, *chosen)
    assert [point["parameter"] for point in points["second-chance"]] == [0.8]
    capsys.readouterr()
    assert main(["solve", "What is 2 + 3?", "--policy", name, "--parameter", "0.7", "--json"]) == 0
    trace = json.loads(capsys.readouterr().out)
    assert (trace["policy"], trace["parameter"]) == ("second-chance", 0.7)
    assert main(["solve", "What is 2 + 3?", "--policy", name, "--parameter", "1.7"]) == 2
    assert "must lie in [0, 1], not 1.7" in capsys.readouterr().err
    check_policy(example("own_policy").SecondChance(0.7))


def test_a_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    config = tmp_path / "trim.toml"
    config.write_text('[prm]\nbackend = "examples/own_judge.py:Arithmetic"\n')
    assert main(["config", "check", str(config), "--probe"]) == 0
    assert "examples/own_judge.py:Arithmetic" in capsys.readouterr().out
    arguments = (
        "--config",
        str(config),
        "--policies",
        "threshold",
        "--parameters",
        "threshold=0.5",
        "--questions",
        "8",
    )
    evaluated(tmp_path / "judged", *arguments)
    rows = [json.loads(line) for line in (tmp_path / "judged" / "traces.jsonl").read_text().splitlines()]
    scores = {decision["score"] for row in rows for decision in row["decisions"]}
    assert {0.9, 0.6} <= scores <= {0.05, 0.6, 0.9}
    judge = example("own_judge")
    assert [judge._score(step) for step in ("12*0.5=6", "so 6 + 45 = 52", "#### 51")] == [0.9, 0.05, 0.6]


def test_a_task_with_its_own_grader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    arguments = ("--task", "examples/own_task.py:estimates", "--questions", "4", "--policies", "always-strong")
    points = evaluated(tmp_path / "estimates", *arguments)
    assert points["always-strong"][0]["questions"] == 4
    task = example("own_task").estimates
    assert task.right("317", Question("", "320"))
    assert not task.right("300", Question("", "320"))
    assert not task.right(None, Question("", "320"))
    rows = [json.loads(line) for line in (tmp_path / "estimates" / "traces.jsonl").read_text().splitlines()]
    assert any(row["correct"] for row in rows)
