"""Runs and fits that several commands are tried on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import pytest

from tests.pomdp.fit.recorded import as_chain, record
from trim.cli.main import main
from trim.config.settings import Config
from trim.config.specs import identities
from trim.experiments.run import Settings
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.policies.artifacts import Models, Provenance
from trim.policies.pomdp import PomdpPolicy
from trim.protocols import Policy
from trim.traces import TraceWriter


@pytest.fixture
def drawn() -> None:
    """For a test of figures: they are drawn."""


@pytest.fixture(autouse=True)
def blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all other tests stay blank: to draw a report's takes over a second."""

    def blank(figure: object, file: IO[Any], *, format: str, **options: object) -> None:
        file.write("<svg></svg>" if format == "svg" else b"PNG")

    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", blank)


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


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("recorded") / "run", POLICIES, 150)


@pytest.fixture(scope="session")
def fitted(run: Path) -> Path:
    folder = run.parent / "fit"
    assert main(["fit", "pomdp", str(run), "--task", "arithmetic_chain", "--out", str(folder), "--json"]) == 0
    return folder


@pytest.fixture
def refused(
    run: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Sequence[str]], str]:
    """Runs a command that must fail with one sentence, which it returns. RUN and FIT stand for a good run and its fit;
    small, rubbish, foreign, FOREIGN_FIT, foreign.json and pathless.toml are in the working directory.
    """
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

    def fail(arguments: Sequence[str]) -> str:
        for name, place in (("RUN", str(run)), ("FOREIGN_FIT", "foreign_fit"), ("FIT", str(fitted))):
            arguments = [argument.replace(name, place) for argument in arguments]
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("trim: ")
        assert error.count("\n") == 1
        return error

    return fail
