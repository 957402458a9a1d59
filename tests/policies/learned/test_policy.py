"""The learned policies: actions, prices, and what is on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.policies.learned.networks_made import PRICES, made_up
from trim.config.policy import open_policy, open_sweep
from trim.config.settings import Config, PolicySettings, PrmSettings
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.policies import FAMILIES
from trim.policies.artifacts import Models, Provenance
from trim.policies.learned.policy import KINDS, Kind, LearnedPolicy
from trim.policies.registry import Need
from trim.testing import check_policy
from trim.types import Action, Observation

MODELS = Models("weak-1", "strong-1", "prm-1")
PROVENANCE = Provenance(MODELS, "gsm_symbolic", "2026-11-25", 500)


def observations(count: int = 200) -> list[Observation]:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        steps = int(rng.integers(1, 31))
        scores = tuple(rng.random(steps).tolist())
        actions = tuple(rng.choice([Action.CONTINUE, Action.REGENERATE], steps - 1).tolist())
        tokens = tuple(rng.integers(1, 200, steps).tolist())
        found.append(
            Observation(scores, tokens, actions, final=bool(rng.integers(2)), draft_scores=(scores[:1],) * steps)
        )
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resample", [False, True])
def test_it_is_a_policy(kind: Kind, resample: bool) -> None:
    policies = [made_up(kind, resample=resample, seed=seed) for seed in range(8)]
    for policy in policies:
        check_policy(policy)
    found = {policy.act(seen) for policy in policies for seen in observations(30)}
    assert found == set(policies[0].actions)


@pytest.mark.parametrize("kind", KINDS)
def test_the_price_matters_and_has_a_range(kind: Kind) -> None:
    policy = made_up(kind)
    assert policy.parameter == policy.price == 1e-3
    low, high = policy.at(PRICES.low), policy.at(PRICES.high)
    assert any(low.act(seen) is not high.act(seen) for seen in observations())
    assert policy.prices()[0] == PRICES.high
    assert len(policy.prices()) == 11
    with pytest.raises(ConfigError, match=rf"policy {kind}: trained for prices from 0\.0001 to 0\.01 .* not 0\.1"):
        policy.at(0.1)


def test_later_rows_are_not_seen_by_earlier_ones() -> None:
    """Attention is causal: what the newest step shows does not change the stream at the steps before."""
    policy = made_up("seq")
    block, embed = policy.network.blocks[0], policy.network.embed  # type: ignore[union-attr]
    rows = policy.read(next(seen for seen in observations() if len(seen.scores) == 12))
    changed = rows.copy()
    changed[-1] += 1
    assert np.array_equal(block(embed(rows))[:-1], block(embed(changed))[:-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resample", [False, True])
def test_a_saved_policy_decides_the_same(tmp_path: Path, kind: Kind, resample: bool) -> None:
    policy = replace(made_up(kind, resample=resample), training={"episodes": 12, "seed": 3})
    policy.save(tmp_path, PROVENANCE)
    loaded = LearnedPolicy.load(tmp_path, kind=kind, models=MODELS)
    assert (loaded.actions, loaded.trained, loaded.price, loaded.features) == (
        policy.actions,
        policy.trained,
        policy.price,
        policy.features,
    )
    assert dict(loaded.training) == {"episodes": 12, "seed": 3}
    assert all(policy.act(seen) is loaded.act(seen) for seen in observations())
    with pytest.raises(ConfigError, match="made for"):
        LearnedPolicy.load(tmp_path, kind=kind, models=replace(MODELS, prm="prm-2"))


def test_features_of_another_version_are_refused(tmp_path: Path) -> None:
    made_up("agg").save(tmp_path, PROVENANCE)
    header = json.loads((tmp_path / "policy.json").read_text())
    header["settings"]["features"] = header["settings"]["features"].replace("tokens/300", "tokens/256")
    (tmp_path / "policy.json").write_text(json.dumps(header))
    with pytest.raises(ConfigError, match=r"unknown features tokens/256"):
        LearnedPolicy.load(tmp_path, kind="agg")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": "CONTINUE"}, "2 actions does not go with"),
        ({"actions": "CONTINUE,JUMP"}, "JUMP"),
        ({"price_low": "x"}, "price_low is 'x'"),
        ({"features": "score,minimum"}, "7 features .* does not go with 3"),
    ],
)
def test_broken_settings_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    made_up("agg").save(tmp_path, PROVENANCE)
    header = json.loads((tmp_path / "policy.json").read_text())
    header["settings"] |= change
    (tmp_path / "policy.json").write_text(json.dumps(header))
    with pytest.raises(ConfigError, match=message):
        LearnedPolicy.load(tmp_path, kind="agg")


def test_missing_arrays_are_refused() -> None:
    policy = made_up("seq")
    with pytest.raises(ConfigError, match=r"no array blocks\.1\.up\.bias"):
        replace(policy, arrays={k: v for k, v in policy.arrays.items() if k != "blocks.1.up.bias"})


@pytest.mark.parametrize("kind", KINDS)
def test_commands_know_it_by_its_folder(tmp_path: Path, kind: Kind) -> None:
    config = Config()
    made_up(kind).save(tmp_path, replace(PROVENANCE, models=Models(**identities(config))))
    assert open_policy(config, f"{kind}={tmp_path}").parameter == 1e-3
    assert open_policy(config, f"{kind}={tmp_path}", 5e-3).parameter == 5e-3
    assert [p.parameter for p in open_sweep(config, f"{kind}={tmp_path}", (1e-3, 2e-3))] == [1e-3, 2e-3]
    assert len(open_sweep(config, f"{kind}={tmp_path}")) == 11
    assert open_policy(Config(policy=PolicySettings(kind, 2e-3, str(tmp_path)))).parameter == 2e-3
    with pytest.raises(ConfigError, match="has no resamples"):
        open_policy(config, f"{kind}+2={tmp_path}")


@pytest.mark.parametrize("family", [name for name in FAMILIES if Need.SHIPPED in FAMILIES[name].needs])
def test_the_embedded_models_come_with_saved_policies(family: str) -> None:
    policy = open_policy(Config(), family)
    assert policy.name == family
    assert policy.parameter == open_policy(Config(policy=PolicySettings(family))).parameter
    with pytest.raises(ConfigError, match=r"was made for .*prm@"):
        open_policy(Config(prm=PrmSettings(model="prm-small")), family)
