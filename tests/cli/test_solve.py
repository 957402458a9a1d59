"""`trim solve` as a user runs it, on the shipped models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.backends.fake_server import serving
from tests.cli.process import QUESTION, trim
from trim.cli.main import main
from trim.config.settings import Config
from trim.config.specs import identities
from trim.policies.artifacts import Models, Provenance
from trim.policies.pomdp import PomdpPolicy


def test_solve_shows_which_model_wrote_each_step(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_solve_and_eval_use_a_fit(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = f"pomdp={fitted}"
    assert main(["solve", QUESTION, "--json", "--policy", policy, "--parameter", "0.003"]) == 0
    trace = json.loads(capsys.readouterr().out)
    assert (trace["policy"], trace["parameter"]) == ("pomdp", 0.003)
    config, out = tmp_path / "trim.toml", tmp_path / "out"
    config.write_text(f"[policy]\nname = 'pomdp'\npath = '{fitted}'\n")
    assert main(["solve", QUESTION, "--json", "--config", str(config)]) == 0
    saved = PomdpPolicy.load(fitted)
    assert json.loads(capsys.readouterr().out)["parameter"] == saved.price
    command = ["eval", "--questions", "2", "--out", str(out), "--json", "--parameters", "pomdp=0.01,0.001"]
    assert main([*command, "--policies", f"always-weak,{policy}"]) == 0
    points = json.loads(capsys.readouterr().out)["operating_points"]
    assert [(p["policy"], p["parameter"]) for p in points] == [
        ("always-weak", None),
        ("pomdp", 0.01),
        ("pomdp", 0.001),
    ]
    saved.at(0.1).save(
        tmp_path / "other", Provenance(Models(**identities(Config())), "arithmetic_chain", "2026-11-25", 1)
    )
    assert main([*command, "--resume", "--policies", f"pomdp={tmp_path / 'other'}"]) == 2
    assert "another fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["solve", "q", "--policy", "absent.json"], "absent.json: there is no such file"),
        (["solve", "q", "--policy", "foreign.json"], "was calibrated on"),
        (["solve", "q", "--policy", "foreign.json", "--parameter", "0.5"], "leave it out"),
        (["solve", "q", "--policy", "pomdp=absent"], "trim: absent: there is no such folder"),
        (["solve", "q", "--policy", "oracle"], "policy oracle needs a task whose steps can be checked by rule"),
        (["solve", "q", "--policy", "pomdp=FOREIGN_FIT"], "was made for"),
        (["solve", "q", "--config", "pathless.toml"], "was made for"),
    ],
)
def test_saved_policies_that_cannot_be_used_get_one_sentence(
    arguments: list[str], sentence: str, refused: Callable[[Sequence[str]], str]
) -> None:
    assert sentence in refused(arguments)


def test_models_that_are_named_solve_without_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as habits:
        model, prm = f"vllm/m@{habits.url}", f"vllm/prm@{habits.url}"
        named = ["--weak", model, "--strong", model, "--judge", prm, "--policy", "threshold", "--parameter", "0.5"]
        assert main(["solve", QUESTION, "--json", *named]) == 0
        trace = json.loads(capsys.readouterr().out)
        assert trace["answer"] == "7"
        assert {request["model"] for request in habits.requests} == {"m", "prm"}


def test_a_name_without_its_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["solve", QUESTION, "--weak", "ollama/a", "--strong", "openai/b", "--judge", "strong"]) == 2
    error = capsys.readouterr().err
    assert "[strong] api_key_env names OPENAI_API_KEY, which is not set: export OPENAI_API_KEY=..." in error
    assert error.count("\n") == 1
