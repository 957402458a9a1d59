"""`trim eval` as a user runs it, on the shipped models."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.backends.fake_server import serving
from tests.cli.process import Running, trim
from trim.cli.main import main
from trim.errors import PluginError
from trim.traces import read_traces
from trim.types import StopReason

EVAL = [
    "eval",
    "--questions",
    "6",
    "--policies",
    "always-weak,always-strong,threshold,oracle",
    "--parameters",
    "threshold=0.5",
]


@pytest.mark.usefixtures("drawn")
def test_eval_writes_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([*EVAL, "--out", str(out), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((out / "results.json").read_text())
    assert [p["policy"] for p in results["operating_points"]] == ["always-weak", "always-strong", "threshold", "oracle"]
    for name in ("traces.jsonl", "frontier.png", "report.html"):
        assert (out / name).stat().st_size > 1000
    assert main([*EVAL, "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err


def test_sweeps_have_at_least_nine_parameters() -> None:
    from trim.policies import FAMILIES

    assert len(FAMILIES["random"].sweep) >= 9
    assert len(FAMILIES["threshold"].sweep) >= 9


def test_a_killed_evaluation_is_resumed_exactly(tmp_path: Path) -> None:
    options = ["--questions", "10", "--policies", "always-weak,always-strong,random", "--parameters", "random=0.5"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert trim("eval", *options, "--out", str(whole)).returncode == 0
    traces = cut / "traces.jsonl"
    running = Running.start(tmp_path, "eval", *options, "--out", str(cut))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (traces.exists() and traces.read_bytes().count(b"\n") > 8):
        time.sleep(0.005)
    assert running.end(signal.SIGKILL).returncode == -signal.SIGKILL
    done = trim("eval", *options, "--out", str(cut), "--resume")
    assert done.returncode == 0, done.stderr

    def answers(folder: Path) -> dict[tuple[str, str], list[str]]:
        lines = [json.loads(line) for line in (folder / "traces.jsonl").read_text().splitlines()]
        keys = Counter((line["question"]["id"], line["policy"]) for line in lines)
        assert set(keys.values()) == {1}
        return {
            (line["question"]["id"], line["policy"]): [decision["step"]["text"] for decision in line["decisions"]]
            for line in lines
        }

    assert answers(cut) == answers(whole)
    assert len(answers(cut)) == 30


def test_an_interrupted_evaluation_says_how_to_resume(tmp_path: Path) -> None:
    config = tmp_path / "trim.toml"
    judge = "[prm]\nbackend = 'vllm'\nbase_url = 'http://127.0.0.1:9'\nmodel = 'p'\nretries = 0\n"
    out = tmp_path / "[/b]"  # markup to a careless terminal
    with serving() as habits:
        server = f"model = 'vllm/m@{habits.url}'\ntemplate = 'trim'\n"
        config.write_text(f"[weak]\n{server}[strong]\n{server}{judge}")
        _interrupt_and_resume(config, out)


def _interrupt_and_resume(config: Path, out: Path) -> None:
    arguments = ["eval", "--policies", "always-weak,threshold", "--parameters", "threshold=0.5", "--questions", "2"]
    done = trim(*arguments, "--config", str(config), "--out", str(out))
    assert done.returncode == 2
    assert "process reward model p at http://127.0.0.1:9: cannot be reached" in done.stderr
    assert done.stderr.rstrip().endswith(f"continue with: --out {out} --resume")
    config.write_text(config.read_text() + "on_error = 'strong'\n")
    done = trim(*arguments, "--config", str(config), "--out", str(out), "--resume")
    assert done.returncode == 0, done.stderr
    assert "2 solutions used a fallback" in done.stdout
    assert str(out / "report.html") in done.stdout
    points = json.loads((out / "results.json").read_text())["operating_points"]
    assert [(p["policy"], p["fallbacks"]) for p in points] == [("always-weak", 0), ("threshold", 2)]
    assert "2 solutions used a fallback" in (out / "report.html").read_text()


def test_a_question_that_does_not_fit_fails_alone_and_once(tmp_path: Path) -> None:
    task = tmp_path / "task.jsonl"
    texts = {"short": "How many apples?", "long": "apples " * 900, "other": "And now?"}
    rows = ({"id": name, "question": text, "answer": "7"} for name, text in texts.items())
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(context=600) as habits:
        weak = f'base_url = "{habits.url}/v1"\nmodel = "m"\nbackend = "vllm"\n'
        (tmp_path / "trim.toml").write_text(f"[weak]\n{weak}[strong]\n{weak}[generation]\nmax_step_tokens = 100\n")
        policies = ["--policies", "always-weak", "--task", str(task), "--config", str(tmp_path / "trim.toml")]
        done = trim("eval", *policies, "--out", str(tmp_path / "out"))
        assert done.returncode == 0, done.stderr
        assert "1 of 3 solutions failed: a server refused the text" in done.stdout
        assert "they count as wrong" in done.stdout
        found = {trace.question.id: trace for trace in read_traces(tmp_path / "out" / "traces.jsonl")}
        assert {name: trace.correct for name, trace in found.items()} == {"short": True, "long": False, "other": True}
        assert found["long"].stop_reason is StopReason.INPUT_TOO_LONG
        assert "maximum context length" in str(found["long"].error)
        assert sum("apples apples" in request["prompt"] for request in habits.requests) <= 2
        (point,) = json.loads((tmp_path / "out" / "results.json").read_text())["operating_points"]
        assert (point["failed"], point["questions"]) == (1, 3)
        assert "1 of 3 solutions failed" in (tmp_path / "out" / "report.html").read_text()
        asked = len(habits.requests)
        again = trim("eval", *policies, "--out", str(tmp_path / "out"), "--resume")
        assert again.returncode == 0, again.stderr
        assert len(habits.requests) == asked
        task.write_text(json.dumps({"id": "long", "question": texts["long"], "answer": "7"}) + "\n")
        alone = trim("eval", *policies, "--out", str(tmp_path / "alone"))
        assert alone.returncode == 1
        assert "all of 1 solutions failed" in alone.stderr


def test_a_parameter_given_twice_is_kept_twice(tmp_path: Path) -> None:
    more = [f"--parameters=threshold={k}" for k in (0.1, 0.9)]
    assert main(["eval", "--policies", "threshold", *more, "--questions", "1", "--out", str(tmp_path)]) == 0
    points = json.loads((tmp_path / "results.json").read_text())["operating_points"]
    assert [p["parameter"] for p in points] == [0.1, 0.9]


def test_scores_are_recorded_on_demand(tmp_path: Path) -> None:
    command = ["eval", "--questions", "2", "--policies", "random", "--parameters", "random=0.4", "--out"]
    for options, scored in (([], False), (["--score"], True)):
        out = tmp_path / str(scored)
        assert main([*command, str(out), *options]) == 0
        decisions = json.loads((out / "traces.jsonl").read_text().splitlines()[0])["decisions"]
        assert all((decision["score"] is not None) is scored for decision in decisions)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["eval", "--policies", "pomdp=FIT,pomdp=FOREIGN_FIT", "--out", "x"], "twice"),
    ],
)
def test_saved_policies_that_cannot_be_used_get_one_sentence(
    arguments: list[str], sentence: str, refused: Callable[[Sequence[str]], str]
) -> None:
    assert sentence in refused(arguments)


def test_parameters_find_their_policy_however_its_options_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.py"
    own.write_text(OWN)
    command = ["eval", "--questions", "2", "--policies", f"random+redo+1,pomdp+snapshot+revise,{own}:Sparing"]
    command += ["--parameters", "random+1+revise=0.7", "--parameters", "pomdp+revise+snapshot=0.002"]
    for number, name in enumerate(("sparing", f"{own}:Sparing")):
        out = str(tmp_path / f"out{number}")
        assert main([*command, "--parameters", f"{name}=0.25", "--out", out, "--json"]) == 0
        points = json.loads(capsys.readouterr().out)["operating_points"]
        assert [(point["policy"], point["parameter"]) for point in points] == [
            ("random+revise+1", 0.7),
            ("pomdp+snapshot+revise", 0.002),
            ("sparing", 0.25),
        ]
    assert main([*command, "--parameters", "sparse=0.25", "--out", str(tmp_path / "other")]) == 2
    assert "--parameters for sparse, which is not among --policies" in capsys.readouterr().err


OWN = """
from trim import Action, Policy

class Sparing(Policy):
    name = "sparing"
    parameter = None

    def __init__(self, parameter: float) -> None:
        self.parameter = parameter

    def act(self, observation):
        return Action.REGENERATE if observation.scores[-1] < self.parameter else Action.CONTINUE
"""


def test_a_short_file_is_taken_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"question": "What is 2 + 3?", "answer": "5"}\n{"question": "What is 2 + 4?", "answer": "6"}\n')
    command = ["eval", "--task", str(file), "--policies", "always-weak,always-strong"]
    assert main([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["questions"] == 2
    assert main(["record", "--task", str(file), "--out", str(tmp_path / "record")]) == 0
    assert "of 2 questions" in capsys.readouterr().out
    assert main([*command, "--replay", str(tmp_path / "record"), "--out", str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["questions"] == 2
    assert main([*command, "--questions", "3", "--out", str(tmp_path / "other")]) == 2
    assert "3 questions asked for (--questions), it has 2" in capsys.readouterr().err


def test_a_grader_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from trim import Question\nfrom trim.tasks import fixed_questions\n"
        "MINE = fixed_questions('mine', [Question('What is 2 + 3?', '5')], lambda answer, question: 1 / 0)\n"
    )
    command = ["eval", "--task", f"{own}:MINE", "--policies", "always-weak", "--out"]
    assert main([*command, str(tmp_path / "out")]) == 2
    words = "trim: task mine raised ZeroDivisionError: division by zero; trim --debug shows where\n"
    assert capsys.readouterr().err.endswith(words)
    with pytest.raises(PluginError) as caught:
        main(["--debug", *command, str(tmp_path / "other")])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_file_of_a_task_is_found_again_from_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "q.jsonl").write_text('{"question": "What is 2 + 3?", "answer": "5"}\n')
    monkeypatch.chdir(tmp_path / "data")
    options = ["--policies", "always-weak,always-strong", "--score", "--json"]
    assert main(["eval", "--task", "q.jsonl", "--out", "../run", *options]) == 0
    assert "Task q," in (tmp_path / "run" / "report.html").read_text("utf-8")
    monkeypatch.chdir(tmp_path)

    def error(*arguments: str) -> str:
        capsys.readouterr()
        assert main([*arguments]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    fit = ["fit", "pomdp", "run", "--labels", "prm", "--out", "fit"]
    assert "too few data from 1 questions" in error(*fit)
    assert main(["report", "run"]) == 0
    assert main(["fit", "router", "similarity", "run", "--out", "router"]) in (0, 2)
    moved = Path("data/q.jsonl").rename("moved.jsonl")
    assert f"there is no file {tmp_path / 'data' / 'q.jsonl'}: the traces were recorded on it; say with" in error(*fit)
    assert "too few data from 1 questions" in error(*fit, "--task", str(moved))
    assert "there is no file absent.jsonl" in error(*fit, "--task", "absent.jsonl")
    assert main(["report", "run"]) == 0


def test_a_missing_extra_is_said_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, config, out = tmp_path / "q.jsonl", tmp_path / "trim.toml", tmp_path / "out"
    file.write_text("".join(f'{{"question": "What is 2 + {n}?", "answer": "{n + 2}"}}\n' for n in range(3)))
    with serving() as habits:
        server = f"backend = 'vllm'\nbase_url = '{habits.url}/v1'\nmodel = 'm'\ntemplate = 'trim'\n"
        config.write_text(f"[weak]\n{server}[strong]\n{server}")
        arguments = ["--task", str(file), "--config", str(config), "--out", str(out)]
        monkeypatch.setattr("trim.tasks.grading.find_spec", lambda name: None)
        assert main(["eval", "--policies", "always-weak", *arguments]) == 2
        assert "math-verify is needed for this: pip install '.[math]'" in capsys.readouterr().err
        monkeypatch.setattr("trim.experiments.policy_training.find_spec", lambda name: None)
        assert main(["train", "agg", "--source", "config", *arguments]) == 2
        assert "torch is needed for this: pip install '.[train]'" in capsys.readouterr().err
    assert habits.requests == []


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    """Files that cannot grow beyond a size stand for the disk."""
    out = tmp_path / "out"
    command = ["eval", "--questions", "6", "--policies", "always-weak,always-strong", "--out", str(out), "--json"]
    whole = trim(*command[:-2], str(tmp_path / "whole"), "--json")
    for size in (10, 200, 9_000, 40_000):  # the lock, the settings, a trace, the report
        again = ["--resume"] if size > 9_000 else []
        done = trim(*command, *again, file_size=size)
        assert done.returncode == 2, (size, done.stdout, done.stderr)
        last = done.stderr.splitlines()[-1]
        if size > 10:
            assert last.startswith(f"trim: {out}/"), size
            assert last.endswith(f": File too large; continue with: --out {out} --resume"), size
        assert "Traceback" not in done.stderr, size
        assert not list(out.glob("*.tmp")), size
    done = trim(*command, "--resume")
    assert done.returncode == 0, done.stderr

    def accuracies(text: str) -> list[float]:
        return [point["accuracy"] for point in json.loads(text)["operating_points"]]

    assert accuracies(done.stdout) == accuracies(whole.stdout)


def test_a_dry_run_asks_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([*EVAL, "--out", str(out), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "would make 24 solutions (0 are there): 4 operating points x 6 questions" in printed
    assert "embedded:weak" in printed
    assert "time: known once the first are made" in printed
    assert not out.exists()


def test_a_run_stops_before_its_limit_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([*EVAL, "--out", str(out), "--max-cost", "0.0005", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert re.search(r"^trim: stopped by --max-cost 0\.0005 at \$0\.000\d+: \d+ of 24 solutions are done[;,] ", error)
    costs = [trace.measured_cost or 0 for trace in read_traces(out / "traces.jsonl")]
    assert 0 < sum(costs) <= 0.0005
    assert main([*EVAL, "--out", str(out), "--resume", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"would make \d+ solutions \(\d+ are there\)", printed)
    assert re.search(r"cost: about \$0\.00", printed)
    assert main([*EVAL, "--out", str(out), "--resume", "--max-cost", "1"]) == 0
    progress = capsys.readouterr().err
    assert "trim: stopped" not in progress
    assert len(list(read_traces(out / "traces.jsonl"))) == 24


def test_a_limit_needs_prices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "trim.toml"
    config.write_text('[strong]\nbackend = "embedded"\n')
    assert main([*EVAL, "--out", str(tmp_path / "out"), "--max-cost", "1", "--config", str(config)]) == 2
    assert "--max-cost needs every price, and [strong.prices] prompt is not set" in capsys.readouterr().err
