"""Running, resuming, evaluating and reporting, on simulated models."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from trim.backends.base import BaseBackend
from trim.errors import BackendUnavailable, ConfigError, TraceError
from trim.experiments.run import Point, Run, Settings
from trim.metrics.operating_point import operating_points
from trim.metrics.tally import Tally
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Policy
from trim.reporting.report_page import write_report
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.stats import wilson
from trim.tasks import Task
from trim.traces import read_traces
from trim.types import Price, Prices, Question, Role, Scores, Trace

PRICES = Prices(weak=Price(0, 1), strong=Price(0, 20), prm=Price(1))
SETTINGS = Settings("simulated", 60, 5, {"weak": "w", "strong": "s", "prm": "p"}, {})


def make_task() -> Task:
    return Task(
        "simulated",
        lambda count, seed: [Question(f"question {i}", "right", f"q{i}") for i in range(count)],
        lambda text: text.rpartition("#### ")[2] or None,
        lambda answer, question: answer == question.reference,
    )


def make_point(policy: Policy, prices: Prices = PRICES) -> Point:
    router = Router(
        SimulatedModel(Role.WEAK, 0.8), SimulatedModel(Role.STRONG, 0.98), SimulatedPrm(0.95), policy, prices=prices
    )
    return Point(policy.name, policy.parameter, router)


POLICIES: list[Policy] = [
    AlwaysWeak(),
    AlwaysStrong(),
    RandomSteps(0.3),
    RandomSteps(0.6),
    Threshold(0.3),
    Threshold(0.6),
]


def evaluate(
    folder: Path,
    policies: list[Policy],
    *,
    resume: bool = False,
    questions: int = 60,
    samples: int = 1,
    prices: Prices = PRICES,
) -> Run:
    run = Run(folder, replace(SETTINGS, questions=questions, samples=samples), resume=resume)
    task = make_task()
    asyncio.run(run.add([make_point(p, prices) for p in policies], task.questions(questions, 5), task, concurrency=8))
    return run


def test_resuming_after_a_kill_answers_every_question_once(tmp_path: Path) -> None:
    whole = evaluate(tmp_path / "whole", POLICIES)
    evaluate(tmp_path / "cut", POLICIES)
    path = tmp_path / "cut" / "traces.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 7])  # in the middle of a line
    resumed = evaluate(tmp_path / "cut", POLICIES, resume=True)
    assert "torn" in resumed.torn
    keys = Counter((t.question.id, t.policy, t.parameter) for t in read_traces(path))
    assert set(keys.values()) == {1}
    assert len(keys) == 60 * len(POLICIES)

    def texts(run: Run) -> dict[tuple[str, str, float | None], str]:
        return {(t.question.id, t.policy, t.parameter): t.text for t in read_traces(run.traces)}

    assert texts(resumed) == texts(whole)
    assert {(p.policy, p.parameter, p.accuracy) for p in resumed.operating_points()} == {
        (p.policy, p.parameter, p.accuracy) for p in whole.operating_points()
    }


def test_several_samples_of_each_question(tmp_path: Path) -> None:
    run = evaluate(tmp_path, POLICIES, questions=20, samples=3)
    lines = [json.loads(line) for line in run.traces.read_text().splitlines()]
    keys = Counter((line["question"]["id"], line["policy"], line["parameter"]) for line in lines)
    assert len(keys) == 20 * len(POLICIES)
    assert set(keys.values()) == {3}
    assert {line["seed"] for line in lines} == set(run.settings.seeds)
    first = {
        line["seed"]: line["decisions"]
        for line in lines
        if (line["policy"], line["question"]["id"]) == ("random", "q1")
    }
    assert len({json.dumps(steps) for steps in first.values()}) == 3
    results = json.loads(run.write_results().read_text())
    assert (results["samples"], results["operating_points"][0]["questions"]) == (3, 20)
    point = next(p for p in results["operating_points"] if (p["policy"], p["parameter"]) == ("threshold", 0.6))
    chosen = [line for line in lines if (line["policy"], line["parameter"]) == ("threshold", 0.6)]
    assert point["accuracy"] == pytest.approx(sum(line["correct"] for line in chosen) / 60)
    html = write_report(run).read_text()
    assert "20 questions, 3 samples of each" in html
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert data
    assert set(Counter((row["p"], row["q"]) for row in json.loads(data.group(1))).values()) == {1}
    # Killed in the middle of the samples of a question: the rest is done, nothing twice.
    whole = run.traces.read_bytes()
    run.traces.write_bytes(b"".join(whole.splitlines(keepends=True)[:100]))
    resumed = evaluate(tmp_path, POLICIES, resume=True, questions=20, samples=3)
    assert {(t.question.id, t.seed, t.policy, t.parameter, t.text) for t in read_traces(resumed.traces)} == {
        (
            line["question"]["id"],
            line["seed"],
            line["policy"],
            line["parameter"],
            "".join(decision["step"]["text"] for decision in line["decisions"]),
        )
        for line in lines
    }
    assert [p.accuracy for p in resumed.operating_points()] == [p.accuracy for p in run.operating_points()]
    with pytest.raises(ConfigError, match="samples 3 -> 2"):
        Run(tmp_path, replace(SETTINGS, questions=20, samples=2), resume=True)
    run.traces.write_bytes(whole + whole.splitlines(keepends=True)[0])
    with pytest.raises(TraceError, match="is there twice"):
        Run(tmp_path, replace(SETTINGS, questions=20, samples=3), resume=True)


def test_samples_of_a_question_do_not_narrow_intervals() -> None:
    """Ten samples that always agree say as much as one."""
    right = [index % 3 > 0 for index in range(90)]
    once, often = (
        Tally([f"q{i}" for i in range(90)] * times, [*map(int, right)] * times, [1.0] * 90 * times, [1.0] * 90 * times)
        for times in (1, 10)
    )
    for tally in (once, often):
        tally.seconds.extend([1.0] * len(tally.questions))
    points = operating_points({("a", 1.0): once, ("a", 2.0): often})
    assert points[0].accuracy_interval == pytest.approx(points[1].accuracy_interval)
    assert points[0].accuracy_interval == pytest.approx(wilson(60, 90))


def test_a_run_from_before_samples_can_be_resumed(tmp_path: Path) -> None:
    evaluate(tmp_path, [AlwaysWeak()])
    settings = json.loads((tmp_path / "run.json").read_text())
    del settings["samples"]
    (tmp_path / "run.json").write_text(json.dumps(settings))
    resumed = evaluate(tmp_path, [AlwaysWeak(), AlwaysStrong()], resume=True)
    assert len(list(read_traces(resumed.traces))) == 120


def test_a_folder_is_never_mixed(tmp_path: Path) -> None:
    evaluate(tmp_path, [AlwaysWeak()])
    with pytest.raises(ConfigError, match="--resume"):
        Run(tmp_path, SETTINGS)
    with pytest.raises(ConfigError, match="seed 5 -> 6"):
        Run(tmp_path, replace(SETTINGS, seed=6), resume=True)
    (tmp_path / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"no run\.json"):
        Run(tmp_path, SETTINGS, resume=True)


def test_finished_solutions_survive_an_error(tmp_path: Path) -> None:
    class DyingPrm(BaseBackend):
        calls = 0

        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            self.calls += 1
            if self.calls > 40:
                raise BackendUnavailable("process reward model prm at http://x", "connection refused")
            return await SimulatedPrm(0.95).score(question, steps)

    router = Router(SimulatedModel(Role.WEAK, 0.8), SimulatedModel(Role.STRONG, 0.98), DyingPrm(), Threshold(0.6))
    run, task = Run(tmp_path, SETTINGS), make_task()
    with pytest.raises(BackendUnavailable, match="http://x"):
        asyncio.run(run.add([Point("threshold", 0.6, router)], task.questions(60, 5), task, concurrency=4))
    done = len(list(read_traces(run.traces)))
    assert 0 < done < 60
    resumed = evaluate(tmp_path, [Threshold(0.6)], resume=True)
    assert len(list(read_traces(resumed.traces))) == 60


def test_report_is_self_contained_and_harmless(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    run, task = Run(tmp_path, SETTINGS), make_task()
    questions = [Question(f"{evil} {i}", "right", f"q{i}") for i in range(20)]
    asyncio.run(run.add([make_point(p) for p in POLICIES], questions, task))
    html = write_report(run).read_text()
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert html.count("<script") == 2
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", html)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert data
    assert json.loads(data.group(1))[0]["q"].startswith(evil)


def test_intervals() -> None:
    low, high = wilson(50, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == pytest.approx(1.0)


def test_traces_survive_a_round_trip(tmp_path: Path) -> None:
    run = evaluate(tmp_path, [Threshold(0.6)])
    first: Trace = next(read_traces(run.traces))
    assert first.decisions
    assert first.usage[Role.PRM].calls > 0


def test_results_have_the_documented_fields(tmp_path: Path) -> None:
    run = evaluate(tmp_path, POLICIES)
    results = json.loads(run.write_results().read_text())
    assert results["schema"] == 1
    assert (results["task"], results["questions"], results["seed"]) == ("simulated", 60, 5)
    wanted = {
        "policy", "parameter", "accuracy", "accuracy_interval", "strong_tokens", "strong_share", "pgr", "weak_tokens",
        "discarded_weak_tokens", "strong_calls", "prm_calls", "cost", "seconds_p50", "seconds_p95",
    }  # fmt: skip
    points = {(p["policy"], p["parameter"]): p for p in results["operating_points"]}
    assert all(wanted <= set(p) for p in points.values())
    weak, strong = points["always-weak", None], points["always-strong", None]
    assert (weak["pgr"], weak["strong_share"]) == (0.0, 0.0)
    assert (strong["pgr"], strong["strong_share"]) == (1.0, 1.0)
    assert points["threshold", 0.6]["accuracy"] > points["random", 0.3]["accuracy"]
    lines = [json.loads(line) for line in run.traces.read_text().splitlines()]
    assert len(lines) == 60 * len(POLICIES)
    needed = {
        "schema", "question", "policy", "parameter", "seed", "correct", "answer", "stop_reason", "decisions", "usage",
        "cost", "seconds",
    }  # fmt: skip
    assert needed <= set(lines[0])
    assert {"id", "text", "reference"} <= set(lines[0]["question"])
    assert {"step", "score", "action", "forced"} <= set(lines[0]["decisions"][0])
    assert {"role", "text", "tokens"} <= set(lines[0]["decisions"][0]["step"])
    assert {"calls", "prompt_tokens"} <= set(lines[0]["usage"]["prm"])
    # The same figures, computed from the traces alone.
    chosen = [line for line in lines if (line["policy"], line["parameter"]) == ("threshold", 0.6)]
    point = points["threshold", 0.6]
    assert point["accuracy"] == pytest.approx(sum(line["correct"] for line in chosen) / 60)
    assert point["strong_tokens"] == pytest.approx(
        sum(
            decision["step"]["tokens"]
            for line in chosen
            for decision in line["decisions"]
            if decision["step"]["role"] == "strong"
        )
        / 60
    )
