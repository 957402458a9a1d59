"""Saved policies: they load unchanged, and anything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.policies.artifacts import Artifact, Models, Provenance, saved_kind
from trim.policies.learned.policy import LearnedPolicy
from trim.policies.pomdp import PomdpPolicy
from trim.policies.registry import open_saved
from trim.policies.spec import PolicySpec
from trim.types import Action, Observation

MODELS = Models("weak-1", "strong-1", "prm-1")
PROVENANCE = Provenance(MODELS, "gsm_symbolic", "2026-11-24", 500)
ARTIFACT = Artifact("pomdp", {"price": 0.002, "gate": None}, {"hazard": np.array([0.5, 1.0])}, PROVENANCE)


def test_a_saved_policy_loads_unchanged(tmp_path: Path) -> None:
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


def test_policies_saved_by_version_0_1_load_and_decide_alike() -> None:
    """The POMDP policy shipped with 0.1, with its names of settings and arrays, and today's."""
    folder = Path(__file__).parent / "saved_by_0_1"
    assert "retries" in json.loads((folder / "policy.json").read_text())["settings"]
    spec = PolicySpec("pomdp", 2, ("revise",))
    models = Models(**identities(Config()))
    old = open_saved(PolicySpec("pomdp", 2, ("revise",), str(folder)), models)
    today = open_saved(spec, models)
    assert (old.parameter, old.prices()) == (today.parameter, today.prices())
    seen = [
        Observation((score, last), (20, tokens), (Action.CONTINUE,), final, draft_scores=((score,), (last,)))
        for score in (0.3, 0.9)
        for last in (0.02, 0.2, 0.5, 0.8, 0.99)
        for tokens in (5, 60)
        for final in (False, True)
    ]
    for price in (old.prices()[0], old.parameter, old.prices()[-1]):
        assert price is not None
        actions = [old.at(price).act(observation) for observation in seen]
        assert actions == [today.at(price).act(observation) for observation in seen]
        assert len(set(actions)) > 1


@pytest.mark.parametrize("family", ["pomdp", "agg", "seq"])
def test_a_policy_saved_again_is_the_same(family: str, tmp_path: Path) -> None:
    """The shipped ones: agg and seq are as version 0.1 saved them."""
    policy = open_saved(PolicySpec(family))
    assert isinstance(policy, PomdpPolicy | LearnedPolicy)
    policy.save(tmp_path, PROVENANCE)
    again = open_saved(PolicySpec(family, folder=str(tmp_path)))
    seen = Observation((0.9, 0.3), (20, 20), (Action.CONTINUE,), draft_scores=((0.9,), (0.3,)))
    assert [again.at(price).act(seen) for price in policy.prices()] == [
        policy.at(price).act(seen) for price in policy.prices()
    ]
    assert saved_kind(tmp_path) == family
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_without_a_policy_has_no_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a saved policy"):
        saved_kind(tmp_path)


def test_models_are_the_same_at_another_address() -> None:
    here = Models("openai:small at http://a:8001/v1", "openai:big at http://a:8002/v1", "vllm:prm at http://a:8003")
    there = Models("openai:small at http://b:1/v1", "openai:big at https://b/v1", "vllm:prm at http://b:3")
    assert here.same(there)
    assert not here.same(replace(there, strong="openai:bigger at https://b/v1"))
    through = replace(here, prm="vllm:prm at http://a:8003 through curve.json")
    assert not here.same(through)
    assert through.same(replace(there, prm="vllm:prm at http://b:3 through curve.json"))
