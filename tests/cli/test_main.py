"""The commands as a user runs them, on the shipped models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from trim.cli.main import main

QUESTION = "Tom has 3 boxes of 12 pens and 5 loose pens. How many pens does he have?"


def trim(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "140", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "trim.cli.main", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_solve_shows_who_wrote_what(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", QUESTION]) == 0
    out = capsys.readouterr().out
    assert "weak" in out
    assert "strong and" in out


def test_solve_as_json_from_standard_input() -> None:
    done = trim(
        "solve", "-", "--json", "--policy", "random", "--parameter", "0.9", "--max-strong-tokens", "0", stdin=QUESTION
    )
    trace = json.loads(done.stdout)
    assert trace["question"]["text"] == QUESTION
    assert trace["usage"]["strong"]["completion_tokens"] == 0
    assert {decision["step"]["role"] for decision in trace["decisions"]} == {"weak"}
    assert any(decision["forced"] for decision in trace["decisions"])


def test_solve_repeats_with_a_seed() -> None:
    texts = {
        tuple(decision["step"]["text"] for decision in json.loads(solved.stdout)["decisions"])
        for solved in (trim("solve", QUESTION, "--json", "--seed", "7") for _ in range(2))
    }
    assert len(texts) == 1


EVAL = [
    "eval",
    "--questions",
    "12",
    "--policies",
    "always-weak,always-strong,threshold,oracle",
    "--parameters",
    "threshold=0.5",
]


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
    options = ["--questions", "24", "--policies", "always-weak,always-strong,random", "--parameters", "random=0.5"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert trim("eval", *options, "--out", str(whole)).returncode == 0
    traces = cut / "traces.jsonl"
    running = subprocess.Popen(
        [sys.executable, "-m", "trim.cli.main", "eval", *options, "--out", str(cut)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (traces.exists() and traces.read_bytes().count(b"\n") > 20):
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
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
    assert len(answers(cut)) == 72


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["eval", "--task", "nothing", "--out", "x"], "unknown task 'nothing'"),
        (["eval", "--policies", "best", "--out", "x"], "unknown policy 'best'"),
        (["eval", "--policies", "threshold", "--parameters", "random=0.1", "--out", "x"], "not among --policies"),
        (["eval", "--policies", "threshold", "--parameters", "threshold=abc", "--out", "x"], "write POLICY=NUMBER"),
        (["eval", "--policies", "threshold", "--parameters", "threshold=7", "--out", "x"], "[0, 1]"),
        (["eval", "--policies", "threshold", "--questions", "1", "--out", os.devnull], "cannot be made"),
        (["solve", " "], "the question is empty"),
        (["solve", "how many \udcff?"], "the question is not valid UTF-8 text"),
        (["solve", "q", "--config", "missing.toml"], "missing.toml"),
        (["solve", "q", "--policy", "always-weak", "--parameter", "0.5"], "has no parameter"),
    ],
)
def test_mistakes_get_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith("trim: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    config = tmp_path / "trim.toml"
    config.write_text(
        "[weak]\nbackend = 'vllm'\nbase_url = 'http://127.0.0.1:9/v1'\nmodel = 'w'\nretries = 0\ntemplate = 'trim'\n"
    )
    for arguments in (["solve", QUESTION, "--config", str(config)], ["config", "check", str(config), "--probe"]):
        done = trim(*arguments)
        assert done.returncode == 2
        assert "127.0.0.1:9" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1
    assert trim("config", "check", str(config)).returncode == 0


def test_an_evaluation_that_broke_off_says_how_to_go_on(tmp_path: Path) -> None:
    config = tmp_path / "trim.toml"
    config.write_text("[prm]\nbackend = 'vllm'\nbase_url = 'http://127.0.0.1:9'\nmodel = 'p'\nretries = 0\n")
    out = tmp_path / "[/b]"  # markup to a careless terminal
    arguments = ["eval", "--policies", "always-weak,threshold", "--parameters", "threshold=0.5", "--questions", "2"]
    done = trim(*arguments, "--config", str(config), "--out", str(out))
    assert done.returncode == 2
    assert "process reward model p at http://127.0.0.1:9: cannot be reached" in done.stderr
    assert done.stderr.rstrip().endswith(f"go on with: --out {out} --resume")
    config.write_text(config.read_text() + "on_error = 'strong'\n")
    done = trim(*arguments, "--config", str(config), "--out", str(out), "--resume")
    assert done.returncode == 0, done.stderr
    assert "2 solutions used a fallback" in done.stdout
    assert str(out / "report.html") in done.stdout
    points = json.loads((out / "results.json").read_text())["operating_points"]
    assert [(p["policy"], p["fallbacks"]) for p in points] == [("always-weak", 0), ("threshold", 2)]
    assert "2 solutions used a fallback" in (out / "report.html").read_text()


def test_a_parameter_given_twice_is_kept_twice(tmp_path: Path) -> None:
    more = [f"--parameters=threshold={k}" for k in (0.1, 0.9)]
    assert main(["eval", "--policies", "threshold", *more, "--questions", "1", "--out", str(tmp_path)]) == 0
    points = json.loads((tmp_path / "results.json").read_text())["operating_points"]
    assert [p["parameter"] for p in points] == [0.1, 0.9]


def test_a_key_that_is_not_set_is_named(tmp_path: Path) -> None:
    config = tmp_path / "trim.toml"
    config.write_text(
        "[strong]\nbackend = 'vllm'\nbase_url = 'http://127.0.0.1:9/v1'\nmodel = 'w'\n"
        "api_key_env = 'TRIM_NO_SUCH_KEY'\n"
    )
    for arguments in (["solve", QUESTION, "--config", str(config)], ["config", "check", str(config)]):
        done = trim(*arguments)
        assert done.returncode == 2
        assert "TRIM_NO_SUCH_KEY" in done.stderr


def test_help_teaches() -> None:
    assert "examples:" in trim("--help").stdout
    assert "--resume" in trim("eval", "--help").stdout
    assert trim("--version").stdout.startswith("trim ")
