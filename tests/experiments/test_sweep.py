"""Edge cases of an evaluation: names, ids, foreign files, kills."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from trim.backends.base import BaseBackend
from trim.errors import BackendUnavailable, ConfigError, TaskError
from trim.experiments.run import Point, Run, Settings
from trim.metrics.run_comparison import paired_difference
from trim.metrics.tally import Tally
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Policy
from trim.reporting.frontier_plot import frontier
from trim.reporting.png import png
from trim.reporting.report_page import write_report
from trim.reporting.tables import points_table
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.stats import wilson
from trim.tasks import Task
from trim.traces import read_traces
from trim.types import Question, Role, Scores

SETTINGS = Settings("simulated", 20, 5, {"weak": "w", "strong": "s", "prm": "p"}, {})
QUESTIONS = [Question(f"question {i}", "right", f"q{i}") for i in range(20)]
TASK = Task(
    "simulated",
    lambda count, seed: QUESTIONS[:count],
    lambda text: text.rpartition("#### ")[2] or None,
    lambda answer, question: answer == question.reference,
)


def make_point(policy: Policy, token_seconds: float = 0.0) -> Point:
    weak = SimulatedModel(Role.WEAK, 0.8, token_seconds=token_seconds)
    router = Router(weak, SimulatedModel(Role.STRONG, 0.98), SimulatedPrm(0.95), policy)
    return Point(policy.name, policy.parameter, router)


def solve(run: Run, policies: list[Policy], questions: list[Question] = QUESTIONS) -> Run:
    asyncio.run(run.add([make_point(policy) for policy in policies], questions, TASK))
    return run


@pytest.mark.parametrize("name", ["cost_$5_vs_$10", r"x_$\frac$", "a[/b]", "</script><b>&amp;"])
def test_any_file_name_can_be_shown(tmp_path: Path, name: str) -> None:
    run = solve(Run(tmp_path, replace(SETTINGS, task=name)), [AlwaysWeak(), AlwaysStrong(), Threshold(0.5)])
    assert png(frontier(run.operating_points(), name)).startswith(b"\x89PNG")
    console = Console(width=200, record=True, file=(tmp_path / "table.txt").open("w"))
    console.print(points_table(run.operating_points(), name))
    console.file.close()
    assert name in console.export_text()
    assert "</script><b>" not in write_report(run).read_text()


def test_two_questions_with_one_id_cost_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, SETTINGS)
    with pytest.raises(TaskError, match="'q1'"):
        solve(run, [AlwaysWeak()], [*QUESTIONS, Question("other", "right", "q1")])
    assert not run.traces.exists()


def test_other_questions_under_the_same_ids_are_refused(tmp_path: Path) -> None:
    solve(Run(tmp_path, SETTINGS), [AlwaysWeak()])
    others = [replace(question, text=f"another {question.text}") for question in QUESTIONS]
    with pytest.raises(ConfigError, match="another text"):
        solve(Run(tmp_path, SETTINGS, resume=True), [AlwaysWeak()], others)


def test_a_run_without_solutions_does_not_fix_its_settings(tmp_path: Path) -> None:
    class Dead(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            raise BackendUnavailable("process reward model prm at http://x", "connection refused")

    weak, strong = SimulatedModel(Role.WEAK, 0.8), SimulatedModel(Role.STRONG, 0.98)
    point = Point("threshold", 0.5, Router(weak, strong, Dead(), Threshold(0.5)))
    with pytest.raises(BackendUnavailable, match="http://x"):
        asyncio.run(Run(tmp_path, SETTINGS).add([point], QUESTIONS, TASK))
    corrected = Run(tmp_path, replace(SETTINGS, models={"prm": "the right address"}))
    assert len(list(read_traces(solve(corrected, [Threshold(0.5)]).traces))) == 20


def test_a_foreign_run_json_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match="another --out"):
        Run(tmp_path, SETTINGS)
    assert (tmp_path / "run.json").read_text() == '{"mine": 1}'


_VICTIM = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_sweep import *
asyncio.run(Run(Path(sys.argv[1]), SETTINGS, resume=True).add(
    [make_point(AlwaysWeak(), 0.0005), make_point(RandomSteps(0.5), 0.0005)], QUESTIONS, TASK, concurrency=2))
"""


def test_sigkill_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    traces = tmp_path / "traces.jsonl"
    for _ in range(3):
        before = traces.stat().st_size if traces.exists() else 0
        victim = subprocess.Popen([sys.executable, "-c", _VICTIM, str(tmp_path), str(Path(__file__).parent)])
        deadline = time.monotonic() + 60
        while victim.poll() is None and time.monotonic() < deadline:
            if traces.exists() and traces.stat().st_size > before:
                break
            time.sleep(0.005)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        assert traces.exists()
    kept = [json.loads(line) for line in traces.read_bytes().split(b"\n")[:-1]]
    run = solve(Run(tmp_path, SETTINGS, resume=True), [AlwaysWeak(), RandomSteps(0.5)])
    answered = Counter((t.question.id, t.policy) for t in read_traces(run.traces))
    assert len(answered) == 40
    assert set(answered.values()) == {1}
    after = [json.loads(line) for line in traces.read_bytes().splitlines()]
    assert after[: len(kept)] == kept


def test_pairs_are_made_by_question_not_by_order() -> None:
    first = Tally(["a", "b", "c"], [True, False, True], [0.0] * 3, [0.0] * 3)
    second = Tally(["c", "a", "b"], [True, True, False], [0.0] * 3, [0.0] * 3)
    difference = paired_difference(first, second)
    assert (difference.count, difference.low, difference.high) == (3, 0.0, 0.0)
    better = Tally(["a", "b", "c"], [True] * 3, [0.0] * 3, [0.0] * 3)
    assert paired_difference(better, first).value == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="no question"):
        paired_difference(first, Tally())


def test_intervals_are_exact_at_the_ends() -> None:
    for count in range(1, 300):
        assert wilson(0, count)[0] == 0.0
        assert wilson(count, count)[1] == 1.0


def test_the_report_opens_at_the_headline_whatever_the_order(tmp_path: Path) -> None:
    sweep: list[Policy] = [Threshold(k / 20) for k in range(1, 20)]
    run = solve(Run(tmp_path, SETTINGS), [*sweep, RandomSteps(0.5), AlwaysStrong(), AlwaysWeak()])
    html = write_report(run).read_text()
    first = html.partition('data-first="')[2].partition('"')[0]
    assert first.startswith("threshold ")
    for name in (first, "always-weak", "always-strong"):
        assert f'"p":"{name}"' in html
    shown = {part.partition('"')[0] for part in html.split('"p":"')[1:]}
    assert f"at {len(shown)} of the 22" in html
