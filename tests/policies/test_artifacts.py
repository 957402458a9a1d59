"""Saved policies: what goes in comes out, and nothing foreign does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trim.errors import ConfigError
from trim.policies.artifacts import Artifact, Models, Provenance

MODELS = Models("weak-1", "strong-1", "prm-1")
PROVENANCE = Provenance(MODELS, "gsm_symbolic", "2026-11-24", 500)
ARTIFACT = Artifact("pomdp", {"price": 0.002, "gate": None}, {"hazard": np.array([0.5, 1.0])}, PROVENANCE)


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    ARTIFACT.save(tmp_path / "policy")
    loaded = Artifact.load(tmp_path / "policy", kind="pomdp", models=MODELS)
    assert (loaded.kind, dict(loaded.settings), loaded.provenance) == (
        "pomdp",
        {"price": 0.002, "gate": None},
        PROVENANCE,
    )
    assert loaded.arrays["hazard"].tolist() == [0.5, 1.0]


def test_other_models_are_refused_or_warned_about(tmp_path: Path) -> None:
    ARTIFACT.save(tmp_path)
    other = Models("weak-2", "strong-1", "prm-1")
    with pytest.raises(ConfigError, match=r"weak-1.*weak-2"):
        Artifact.load(tmp_path, kind="pomdp", models=other)
    with pytest.warns(UserWarning, match=r"weak-1.*weak-2"):
        Artifact.load(tmp_path, kind="pomdp", models=other, on_mismatch="warn")


@pytest.mark.parametrize(
    "change", [{"schema": 2}, {"kind": "agg"}, {"provenance": {}}, {"provenance": None}, {"schema": None}]
)
def test_other_kinds_and_broken_headers_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    ARTIFACT.save(tmp_path)
    header = json.loads((tmp_path / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps({**header, **change}))
    with pytest.raises(ConfigError, match=str(tmp_path)):
        Artifact.load(tmp_path, kind="pomdp")


def test_arrays_that_would_run_code_are_refused(tmp_path: Path) -> None:
    ARTIFACT.save(tmp_path)
    with (tmp_path / "arrays.npz").open("wb") as file:
        np.savez(file, hazard=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(ConfigError, match="not a saved policy"):
        Artifact.load(tmp_path, kind="pomdp")
    (tmp_path / "arrays.npz").write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match="not a saved policy"):
        Artifact.load(tmp_path, kind="pomdp")
    with pytest.raises(ConfigError, match="absent"):
        Artifact.load(tmp_path / "absent", kind="pomdp")
