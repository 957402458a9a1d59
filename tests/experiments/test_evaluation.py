"""Evaluations: what they keep, and what they do not ask for twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.policies.learned.networks_made import made_up
from trim.backends.replay_cache import FILE
from trim.cli.main import main
from trim.config.settings import Config
from trim.experiments.evaluation import evaluate, replay_plan
from trim.experiments.run import Run
from trim.experiments.sweep import EvaluationPlan
from trim.policies.artifacts import Models, Provenance
from trim.types import Role


def test_a_run_keeps_its_policy(tmp_path: Path) -> None:
    from trim.experiments.evaluation import keep_policies

    made_up("agg").save(tmp_path / "agg", Provenance(Models("a", "b", "c"), "t", "2026-11-25", 1))
    (tmp_path / "run").mkdir()
    keep_policies(("threshold", f"agg={tmp_path / 'agg'}"), tmp_path / "run")
    assert (tmp_path / "run" / "agg" / "arrays.npz").exists()


def test_an_evaluation_requests_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "record"
    command = ["eval", "--task", "gsm_symbolic", "--questions", "3", "--policies", "threshold,random", "--json"]
    command += ["--parameters", "threshold=0.3,0.6", "--parameters", "random=0.4", "--out"]

    def points(out: str, *more: str) -> list[list[object]]:
        assert main([*command, str(tmp_path / out), *more]) == 0
        found = json.loads(capsys.readouterr().out)["operating_points"]
        return [[point[key] for key in ("policy", "parameter", "accuracy", "strong_tokens")] for point in found]

    first = points("first", "--record", str(record))
    steps = (record / FILE).read_text().splitlines()
    assert len(steps) == len({json.loads(line)["key"] for line in steps})
    for again in (points("second", "--record", str(record)), points("third", "--replay", str(record)), points("live")):
        assert again == first
    assert (record / FILE).read_text().splitlines() == steps
    assert main([*command, str(tmp_path / "fourth"), "--record", str(record), "--seed", "3"]) == 2
    assert "is a record of" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "fifth"), "--record", str(record), "--engine", "ray"]) == 2


PARAMETERS = {"threshold+2": 0.7, "seq": 0.01}
PLAN = EvaluationPlan(
    Config(),
    "gsm_symbolic",
    ("always-weak", "always-strong", *PARAMETERS),
    tuple(f"{name}={value}" for name, value in PARAMETERS.items()),
    questions=5,
    seed=901_000,
)
BACKWARDS = replace(PLAN, policies=PLAN.policies[::-1])
TIMED = ("seconds", "phases", "measured", "measured_cost")  # of a trace: what depends on timing


def solved(folder: Path, plan: EvaluationPlan, *, resume: bool = False) -> Run:
    return asyncio.run(evaluate(plan, folder, resume=resume))


def looking_ahead(plan: EvaluationPlan, lookahead: int) -> EvaluationPlan:
    return replace(plan, config=replace(Config(), generation=replace(Config().generation, lookahead=lookahead)))


def killed(folder: Path) -> Run:
    """An evaluation whose process was killed in the middle of a line, and resumed with policies in another order."""
    traces = solved(folder, BACKWARDS).traces
    content = traces.read_bytes()
    traces.write_bytes(content[: int(len(content) * 0.6)])
    return solved(folder, PLAN, resume=True)


def replayed(folder: Path) -> Run:
    """An evaluation of what another one recorded, with policies in another order."""
    record = folder / "record"
    solved(folder / "first", replace(BACKWARDS, record=record))
    return solved(folder / "second", replay_plan(PLAN, record, None))


def facts(run: Run) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Every point and trace, without what depends on timing."""
    points = {point.policy: asdict(replace(point, seconds_p50=0, seconds_p95=0)) for point in run.operating_points()}
    lines = map(json.loads, run.traces.read_text().splitlines())
    traces = [{name: value for name, value in line.items() if name not in TIMED} for line in lines]
    return points, sorted(traces, key=lambda trace: (trace["policy"], trace["question"]["id"]))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Each policy in an evaluation of its own: no other one has ever run before it."""
    folder = tmp_path_factory.mktemp("alone")
    for name in PLAN.policies:
        own = tuple(text for text in PLAN.parameters if text.startswith(f"{name}="))
        one = solved(folder / name, replace(PLAN, policies=(name,), parameters=own))
        with (folder / "traces.jsonl").open("ab") as traces:
            traces.write(one.traces.read_bytes())
    (folder / "run.json").write_bytes((folder / PLAN.policies[0] / "run.json").read_bytes())
    return Run(folder, one.settings, resume=True)


@pytest.mark.parametrize(
    "again",
    [
        lambda folder: solved(folder, looking_ahead(replace(BACKWARDS, concurrency=16), 4)),
        lambda folder: solved(folder, looking_ahead(replace(PLAN, concurrency=1), 0)),
        killed,
        replayed,
    ],
    ids=["another order", "one question, one step at a time", "killed", "replayed"],
)
def test_an_evaluation_repeats_to_the_last_token_and_cent(
    alone: Run, again: Callable[[Path], Run], tmp_path: Path
) -> None:
    run = again(tmp_path)
    points, traces = facts(run)
    known, expected = facts(alone)
    assert traces == expected
    assert points == known
    # The ledger adds up: what the traces say is what the points say.
    for name, point in points.items():
        mine = [trace for trace in traces if trace["policy"] == name]
        usage = {role: [trace["usage"][role] for trace in mine] for role in Role}
        assert point["cost"] == pytest.approx(sum(trace["cost"] for trace in mine) / PLAN.questions, rel=1e-12)
        assert point["prm_tokens"] == sum(used["prompt_tokens"] for used in usage[Role.PRM]) / PLAN.questions
        assert point["weak_tokens"] == sum(used["completion_tokens"] for used in usage[Role.WEAK]) / PLAN.questions
        assert point["strong_tokens"] == sum(used["completion_tokens"] for used in usage[Role.STRONG]) / PLAN.questions
