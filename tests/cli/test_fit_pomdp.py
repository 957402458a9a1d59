"""`trim fit`, `explain`, `calibrate`, and fitted policies in `solve` and `eval`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.pomdp.fit.recorded import as_chain, record
from trim.cli.main import main
from trim.config.loading import load_config
from trim.config.policy import open_policy, open_sweep
from trim.config.settings import Config
from trim.config.specs import identities
from trim.experiments.run import Settings
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.policies.artifacts import Models, Provenance
from trim.policies.pomdp import PomdpPolicy
from trim.protocols import Policy
from trim.traces import TraceWriter

QUESTION = "Tom has 3 boxes of 12 pens and 5 loose pens. How many pens does he have?"
POLICIES: list[Policy] = [
    AlwaysWeak(),
    AlwaysStrong(),
    RandomSteps(0.5, uses_scores=True),
    *map(Threshold, (0.3, 0.6, 0.9)),
]


def write_run(folder: Path, policies: list[Policy], count: int) -> Path:
    """A folder as `trim eval` leaves it, of simulated models that go by the names of the shipped ones."""
    folder.mkdir()
    settings = Settings("arithmetic_chain", count, 0, identities(Config()), {})
    (folder / "run.json").write_text(json.dumps(asdict(settings)))
    with TraceWriter(folder / "traces.jsonl") as writer:
        for policy in policies:
            for trace in record(policy, count):
                writer.append(as_chain(trace))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("recorded") / "run", POLICIES, 150)


@pytest.fixture(scope="module")
def fitted(run: Path) -> Path:
    folder = run.parent / "fit"
    assert main(["fit", "pomdp", str(run), "--task", "arithmetic_chain", "--out", str(folder), "--json"]) == 0
    return folder


def test_fit_prints_what_it_estimated(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "pomdp", str(run), "--out", str(tmp_path), "--price", "0.002"]) == 0
    out = capsys.readouterr().out
    for words in ("p_w", "q_R", "95% CI", "hazard[0]: draft 2", "900 traces of 150 questions"):
        assert words in out
    policy = PomdpPolicy.load(tmp_path)
    assert policy.price == 0.002
    for name in ("decisions.png", "hazard.png", "scores.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_fit_leaves_estimates_and_provenance(fitted: Path) -> None:
    estimates = json.loads((fitted / "fit.json").read_text())
    weak = estimates["weak_accuracy"]
    assert weak["low"] < 0.8 < weak["high"]
    assert weak["count"] > 1000
    assert estimates["scores"]["LOST"]["count"] > 100
    provenance = json.loads((fitted / "policy.json").read_text())["provenance"]
    assert provenance["models"] == identities(Config())
    assert (provenance["task"], provenance["questions"]) == ("arithmetic_chain", 150)


def test_fit_with_scores_from_labelled_solutions(run: Path, tmp_path: Path) -> None:
    """ProcessBench's format, scored by the shipped judge."""
    steps = ["3 + 4 = 7", "7 + 5 = 12", "12 + 1 = 13", "#### 13"]
    rows = [
        {"id": str(n), "problem": f"Calculate 3 + 4 + 5 + {n}.", "steps": steps, "label": label}
        for n in range(35)
        for label in (-1, 2)
    ]
    file = tmp_path / "processbench.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    assert main(["fit", "pomdp", str(run), "--observation", str(file), "--out", str(tmp_path / "fit")]) == 0
    estimates = json.loads((tmp_path / "fit" / "fit.json").read_text())
    counts = {state: estimate["count"] for state, estimate in estimates["scores"].items()}
    assert counts == {"CORRECT": 35 * 6, "RECOVERABLE": 35, "LOST": 35}


def test_explain_says_where_the_decision_flips(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["explain", str(fitted), "--step", "2", "--scores", ".9,.8,.3", "--tokens", "40"]
    assert main(command) == 0
    assert "decision: REGENERATE" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert sum(values["belief"].values()) == pytest.approx(1)
    assert values["gain"] > values["cost"]
    for factor, action in ((0.99, "REGENERATE"), (1.01, "CONTINUE")):
        assert main([*command, "--json", "--price", str(values["flip_price"] * factor)]) == 0
        assert json.loads(capsys.readouterr().out)["action"] == action
    assert main([*command, "--final"]) == 0
    assert "final draft" in capsys.readouterr().out


def test_calibrate_writes_a_parameter(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "threshold.json"
    command = ["calibrate", "--policy", "threshold", "--traces", str(run), "--strong-share", "0.2", "--out", str(out)]
    assert main(command) == 0
    assert f"--policy {out}, which is threshold at 0." in capsys.readouterr().out
    values = json.loads(out.read_text())
    assert values["low"] <= values["parameter"] <= values["high"]
    assert values["expected"]["strong_share"] == pytest.approx(0.2)
    assert values["held_out"]["questions"] == 75
    assert values["provenance"]["models"] == identities(Config())
    assert main(["solve", QUESTION, "--json", "--policy", str(out)]) == 0
    trace = json.loads(capsys.readouterr().out)
    assert (trace["policy"], trace["parameter"]) == ("threshold", values["parameter"])
    config = tmp_path / "trim.toml"
    config.write_text(f"[policy]\nname = '{out}'\n")
    assert open_policy(load_config(config)) == Threshold(values["parameter"])
    assert [policy.parameter for policy in open_sweep(Config(), str(out))] == [values["parameter"]]


def test_a_calibrated_fit_brings_its_folder(run: Path, fitted: Path, tmp_path: Path) -> None:
    out = tmp_path / "price.json"
    provenance = {"models": identities(Config()), "task": "t", "date": "2026-11-28", "questions": 1}
    values = {"schema": 1, "kind": "calibration", "policy": "pomdp", "parameter": 0.004, "folder": str(fitted)}
    out.write_text(json.dumps({**values, "provenance": provenance}))
    policy = open_policy(Config(), str(out))
    assert isinstance(policy, PomdpPolicy)
    assert policy.price == 0.004


def test_models_are_the_same_at_another_address() -> None:
    here = Models("openai:small at http://a:8001/v1", "openai:big at http://a:8002/v1", "vllm:prm at http://a:8003")
    there = Models("openai:small at http://b:1/v1", "openai:big at https://b/v1", "vllm:prm at http://b:3")
    assert here.same(there)
    assert not here.same(replace(there, strong="openai:bigger at https://b/v1"))
    through = replace(here, prm="vllm:prm at http://a:8003 through curve.json")
    assert not here.same(through)
    assert through.same(replace(there, prm="vllm:prm at http://b:3 through curve.json"))


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


def test_a_sweep_of_prices_covers_cheap_and_dear(fitted: Path) -> None:
    policies = open_sweep(Config(), f"pomdp={fitted}")
    prices = [policy.parameter or 0 for policy in policies]
    assert len(prices) >= 9
    assert prices == sorted(prices, reverse=True)
    assert prices[0] / prices[-1] > 100


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
        (["fit", "pomdp", "RUN", "--task", "gsm_symbolic", "--out", "x"], "of different tasks: arithmetic_chain, gsm_"),
        (["fit", "pomdp", "small", "--out", "x"], "too few data from 5 questions"),
        (["fit", "pomdp", "absent.jsonl", "--task", "gsm_symbolic", "--out", "x"], "--config"),
        (["fit", "pomdp", "RUN", "absent", "--out", "x"], "absent: No such file"),
        (["fit", "pomdp", "rubbish", "--out", "x"], "traces.jsonl:1: not JSON"),
        (["fit", "pomdp", "RUN", "--observation", "absent.jsonl", "--out", "x"], "ProcessBench"),
        (["fit", "pomdp", "RUN", "foreign", "--out", "x"], "different models"),
        (["explain", "absent", "--scores", ".5", "--tokens", "4"], "not a saved policy"),
        (["explain", "FIT", "--step", "2", "--scores", ".5", "--tokens", "4"], "needs 3 scores"),
        (["explain", "FIT", "--scores", ".5", "--tokens", "4", "--price", "-1"], "must not be negative"),
        (["calibrate", "--policy", "best", "--traces", "RUN", "--cost", "1", "--out", "x"], "unknown policy 'best'"),
        (
            ["calibrate", "--policy", "threshold", "--traces", "absent", "--cost", "1", "--out", "x"],
            "is not a folder of trim",
        ),
        (["calibrate", "--policy", "random", "--traces", "RUN", "--accuracy", "1", "--out", "x"], "out of reach"),
        (["calibrate", "--policy", "pomdp=FIT", "--traces", "foreign", "--cost", "1", "--out", "x"], "was made for"),
        (["solve", "q", "--policy", "absent.json"], "not what trim calibrate writes"),
        (["solve", "q", "--policy", "foreign.json"], "was calibrated on"),
        (["solve", "q", "--policy", "foreign.json", "--parameter", "0.5"], "leave it out"),
        (["solve", "q", "--policy", "pomdp=absent"], "not a saved policy"),
        (["solve", "q", "--policy", "pomdp=FOREIGN_FIT"], "was made for"),
        (["eval", "--policies", "pomdp=FIT,pomdp=FOREIGN_FIT", "--out", "x"], "twice"),
        (["solve", "q", "--config", "pathless.toml"], "was made for"),
    ],
)
def test_mistakes_get_one_sentence(
    arguments: list[str],
    sentence: str,
    run: Path,
    fitted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "small", POLICIES[2:3], 5)
    rubbish, foreign = (write_run(tmp_path / name, [], 0) for name in ("rubbish", "foreign"))
    (rubbish / "traces.jsonl").write_text("rubbish\n")
    settings = json.loads((foreign / "run.json").read_text())
    settings["models"]["weak"] = "another"
    (foreign / "run.json").write_text(json.dumps(settings))
    other = Provenance(Models("another", "strong", "prm"), "arithmetic_chain", "2026-11-25", 1)
    PomdpPolicy.load(fitted).save(tmp_path / "foreign_fit", other)
    of_others = {"schema": 1, "kind": "calibration", "policy": "threshold", "parameter": 0.5, "folder": None}
    (tmp_path / "foreign.json").write_text(json.dumps({**of_others, "provenance": asdict(other)}))
    (tmp_path / "pathless.toml").write_text("[policy]\nname = 'pomdp'\n[prm]\nmodel = 'prm-small'\n")
    places = {"RUN": str(run), "FOREIGN_FIT": "foreign_fit", "FIT": str(fitted)}
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith("trim: ")
    assert captured.err.count("\n") == 1
