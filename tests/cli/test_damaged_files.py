"""Traces, run folders, saved policies, calibrations and configurations that are damaged or made up: one sentence each.

TRIM_FUZZ=20000 tries so many cases in place of the few of a default run.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.conftest import write_run
from trim.cli.main import main
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import TrimError
from trim.experiments.run import Run
from trim.metrics.breakdown import break_down
from trim.policies import AlwaysStrong, AlwaysWeak, Threshold
from trim.policies.artifacts import Models, Provenance
from trim.policies.registry import open_saved
from trim.policies.spec import PolicySpec
from trim.tasks import FAMILIES
from trim.traces import read_traces
from trim.types import Action, Observation

CASES = int(os.environ.get("TRIM_FUZZ", "100"))
LIMIT = 20.0  # seconds that one case may take
ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "src" / "trim" / "embedded"

Json = Any
ODD: list[Json] = [
    *(None, True, False, 0, -1, 1, 2, 10**9, 2**53 + 1, 2**63, -(2**63) - 1, 10**400),
    *(0.5, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
    *(
        "",
        " ",
        "x",
        "0",
        "nan",
        "\0",
        "a\nb",
        "\ud800",
        "$x^$",
        "[/b]",
        "<script>",
        "x" * 5_000,
        "always-weak",
        "../..",
    ),
    *([], {}, [[]], [None], {"": None}, [1] * 50, "deep"),
]
odd = st.sampled_from(ODD).map(copy.deepcopy)


def places(value: Json, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every key and index in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, part in inside for place in ((*path, key), *places(part, (*path, key)))]


@st.composite
def changed(draw: st.DrawFn, text: str) -> str:
    """A JSON text with one to three changes: values replaced, keys taken out, renamed or doubled, text cut or bent."""
    values = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        if not (there := places(values)):
            break
        *outer, key = draw(st.sampled_from(there))
        table: Any = values
        for name in outer:
            table = table[name]
        part = table[key]
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "nest", "repeat"])):
            case "replace":
                table[key] = draw(odd)
            case "remove":
                del table[key]
            case "rename" if isinstance(table, dict):
                table[draw(st.sampled_from(["", "x", "schema", "usage", "name", "\ud800", "policy"]))] = table.pop(key)
            case "nest":
                table[key] = [table[key]]
            case "repeat" if isinstance(table, list):
                table.extend(copy.deepcopy(part) for _ in range(draw(st.integers(1, 40))))
    made = json.dumps(values).replace('"deep"', "[" * 5_000 + "]" * 5_000)
    match draw(st.sampled_from(["", "", "", "", "", "cut", "double", "bend"])):
        case "cut":
            return made[: draw(st.integers(0, len(made)))]
        case "double" if made.startswith("{") and len(made) > 2:
            first = made[1:].partition(",")[0]
            return "{" + first.rstrip("}") + "," + made[1:]
        case "bend":
            place = draw(st.integers(0, len(made)))
            return (
                made[:place]
                + draw(st.sampled_from(["\0", "\\", '"', "{", "]", "\ufeff", "1e999", "\n", "NaN"]))
                + made[place:]
            )
    return made


@cache
def base() -> Path:
    """A folder with a run, its fit, and the shipped policies."""
    folder = Path(mkdtemp(prefix="trim-damaged-"))
    write_run(folder / "run", [AlwaysWeak(), AlwaysStrong(), Threshold(0.5)], 2)
    for name in ("pomdp", "agg", "seq"):
        shutil.copytree(SHIPPED / name, folder / name)
    return folder


def one_sentence(arguments: list[str]) -> int:
    """Run a command; it must end in time, without a traceback, and an error is one line."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = main(arguments)
    assert code in (0, 2)
    if code == 2:
        said = errors.getvalue()
        assert said.startswith("trim: ")
        assert said.count("\n") == 1
        assert len(said) < 1_500
    return code


def timed(check: Callable[[], object]) -> None:
    """Run a check that may only raise errors of TRIM, and not for long."""
    started = time.monotonic()
    try:
        check()
    except TrimError as error:
        words = str(error)
        assert words
        assert "\n" not in words
        assert len(words) < 1_500
    assert time.monotonic() - started < LIMIT


def fuzz(share: float) -> settings:
    """Settings of a property that gets this share of the cases."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=max(8, int(CASES * share)),
        deadline=None,
        database=None,
        suppress_health_check=checks,
        derandomize=CASES == 100,
    )


def figures(folder: Path) -> None:
    """All that a report computes, without drawing it."""
    run = Run.open(folder)
    points = run.operating_points()
    run.summaries()
    run.write_results()
    labels = FAMILIES["arithmetic_chain"].step_labels
    break_down(read_traces(run.traces), {(point.policy, point.parameter) for point in points}, labels)


@fuzz(0.3)
@given(st.data())
def test_traces(data: st.DataObject) -> None:
    folder = base() / "traces"
    folder.mkdir(exist_ok=True)
    shutil.copy(base() / "run" / "run.json", folder)
    lines = (base() / "run" / "traces.jsonl").read_text("utf-8").splitlines()
    which = data.draw(st.integers(0, len(lines) - 1))
    lines[which] = data.draw(changed(lines[which]))
    text = "\n".join(lines) + "\n"
    (folder / "traces.jsonl").write_bytes(text.encode("utf-8", "surrogatepass"))
    timed(lambda: figures(folder))
    if data.draw(st.integers(0, 15)) == 7:
        one_sentence(["report", str(folder)])


@fuzz(0.15)
@given(st.data())
def test_run_folders(data: st.DataObject) -> None:
    folder = base() / "folder"
    folder.mkdir(exist_ok=True)
    shutil.copy(base() / "run" / "traces.jsonl", folder)
    text = data.draw(changed((base() / "run" / "run.json").read_text("utf-8")))
    (folder / "run.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    timed(lambda: figures(folder))
    one_sentence(["fit", "pomdp", str(folder), "--out", str(base() / "out")])
    one_sentence(
        [
            "calibrate",
            "--policy",
            "threshold",
            "--traces",
            str(folder),
            "--accuracy",
            "0.5",
            "--out",
            str(base() / "c.json"),
        ]
    )
    if data.draw(st.integers(0, 15)) == 7:
        one_sentence(["report", str(folder)])


SEEN = Observation((0.9, 0.3), (20, 20), (Action.CONTINUE,), draft_scores=((0.9,), (0.3,)))


def decide(family: str, folder: Path) -> None:
    """Open a saved policy, and let it decide."""
    policy = open_saved(PolicySpec(family, folder=str(folder)), Models(**identities(Config())))
    for price in (policy.prices()[0], policy.prices()[-1]):
        assert policy.at(price).act(SEEN) in Action


@fuzz(0.3)
@pytest.mark.parametrize("family", ["pomdp", "agg", "seq"])
@given(data=st.data())
def test_settings_of_policies(family: str, data: st.DataObject) -> None:
    folder = base() / f"changed-{family}"
    shutil.copytree(base() / family, folder, dirs_exist_ok=True)
    text = data.draw(changed((base() / family / "policy.json").read_text("utf-8")))
    (folder / "policy.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    timed(lambda: decide(family, folder))
    if family == "pomdp":
        one_sentence(["explain", str(folder), "--scores", ".9,.3", "--tokens", "20"])


@st.composite
def other_arrays(draw: st.DrawFn, family: str) -> bytes:
    """The arrays of a policy with one changed, or a damaged file."""
    with np.load(SHIPPED / family / "arrays.npz") as file:
        arrays = {name: file[name] for name in file.files}
    name = draw(st.sampled_from(sorted(arrays)))
    array = arrays[name]
    match draw(st.sampled_from(["entry", "type", "shape", "cut", "remove", "add", "size", "scale"])):
        case "entry":
            array = array.astype(float)
            array.flat[draw(st.integers(0, array.size - 1))] = draw(
                st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 2.0, 1e300, 1e-320])
            )
            arrays[name] = array
        case "type":
            arrays[name] = array.astype(draw(st.sampled_from(["U9", "S4", "complex128", "int8", "bool", "float16"])))
        case "shape":
            shapes = [(0,), (), (1, -1), (-1,), (-1, 1), (1, 1, -1)]
            shape = draw(st.sampled_from(shapes))
            arrays[name] = np.zeros(shape) if shape in ((0,), ()) else array.reshape(shape)
        case "cut":
            arrays[name] = array[: draw(st.integers(0, len(array)))]
        case "remove":
            del arrays[name]
        case "add":
            arrays[draw(st.sampled_from(["x", "blocks.9.out.weight", "agreement", "repair_mass"]))] = array
        case "size":
            arrays[name] = np.ones(draw(st.sampled_from([100_001, 2_000_000])))
        case "scale":
            arrays[name] = array * draw(st.sampled_from([-1.0, 1e30, 1e-30, 0.0]))
    content = io.BytesIO()
    with np.errstate(over="ignore"):
        np.savez(content, **arrays)
    whole = content.getvalue()
    match draw(st.sampled_from(["", "", "", "cut", "bend"])):
        case "cut":
            return whole[: draw(st.integers(0, len(whole)))]
        case "bend":
            place = draw(st.integers(0, len(whole) - 1))
            return whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
    return whole


@fuzz(0.1)
@pytest.mark.parametrize("family", ["pomdp", "agg", "seq"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(data=st.data())
def test_arrays_of_policies(family: str, data: st.DataObject) -> None:
    folder = base() / f"arrays-{family}"
    shutil.copytree(base() / family, folder, dirs_exist_ok=True)
    (folder / "arrays.npz").write_bytes(data.draw(other_arrays(family)))
    timed(lambda: decide(family, folder))


CALIBRATION = json.dumps(
    {
        **{"schema": 1, "kind": "calibration", "policy": "threshold", "parameter": 0.5, "folder": None},
        "provenance": asdict(Provenance(Models(**identities(Config())), "gsm_symbolic", "2026-11-25", 1)),
    }
)


@fuzz(0.1)
@given(changed(CALIBRATION))
def test_calibrations(text: str) -> None:
    file, config = base() / "calibration.json", base() / "calibrated.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    config.write_text(f"[policy]\nname = '{file}'\n")
    one_sentence(["config", "check", str(config)])


CONFIG = (ROOT / "examples" / "small-prm.toml").read_text("utf-8")
TOML = [
    "nan",
    "inf",
    "9" * 5_000,
    "[",
    "'''",
    "\0",
    "[[weak]]",
    "{}",
    "1979-05-27",
    "\n[weak]\n",
    "=",
    '"\\uD800"',
    "'x'",
    "-1",
]


@fuzz(0.15)
@given(st.integers(0, len(CONFIG)), st.integers(0, 40), st.sampled_from(TOML))
def test_configurations(place: int, removed: int, added: str) -> None:
    file = base() / "trim.toml"
    file.write_text(CONFIG[:place] + added + CONFIG[place + removed :])
    one_sentence(["config", "check", str(file)])
