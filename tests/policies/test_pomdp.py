"""The POMDP policy: a pure function of the observation, on its own and in the Router."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.pomdp.instances import scores_in, small
from trim.errors import ConfigError
from trim.policies.artifacts import Models, Provenance
from trim.policies.pomdp import RELEASED_GATE, PomdpPolicy
from trim.pomdp import CostModel, PomdpModel, ResampleModel, filter_belief, snapshot_belief
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.testing import check_policy
from trim.types import Action, Observation, Question, Role, Trace

POLICY = PomdpPolicy(small(), 0.01)
AGAIN = ResampleModel((0.6, 0.2, 0.4), 0.9, 0.35)
PROVENANCE = Provenance(Models("w", "s", "p"), "gsm_symbolic", "2026-11-24", 500)


@pytest.mark.parametrize(
    "policy",
    [
        POLICY,
        replace(POLICY, belief="snapshot", gate=RELEASED_GATE),
        replace(POLICY, take_over=True, cost_model=CostModel(5.0, 3.0)),
        replace(POLICY, resamples=2, max_revisions=2, model=replace(small(), resample_model=AGAIN, revise_model=AGAIN)),
    ],
)
def test_it_conforms(policy: PomdpPolicy) -> None:
    check_policy(policy)


def test_it_acts_by_belief_tokens_and_final_flag() -> None:
    seen = Observation((0.9, 0.2), (10, 20), (Action.CONTINUE,), draft_scores=((0.9,), (0.2,)))
    for final in (False, True):
        belief = filter_belief(POLICY.model, seen)
        flips_at = float(POLICY.solution.gain(1, belief, final=final)) / POLICY.price  # tokens
        assert flips_at > 2
        for tokens, expected in ((int(flips_at), Action.REGENERATE), (int(flips_at) + 1, Action.CONTINUE)):
            assert POLICY.act(replace(seen, final=final, tokens=(10, tokens))) is expected


def test_another_price_is_solved_once_and_kept() -> None:
    expensive = POLICY.at(0.5)
    assert expensive.parameter == 0.5
    assert expensive.solution is POLICY.at(0.5).solution
    assert expensive.solution is not POLICY.solution
    seen = Observation((0.2,), (10,))
    assert (POLICY.act(seen), expensive.act(seen)) == (Action.REGENERATE, Action.CONTINUE)


def test_the_snapshot_and_its_gate() -> None:
    policy = replace(POLICY, belief="snapshot", price=0.0)
    seen = Observation((0.9, 0.9), (10, 10), (Action.CONTINUE,))
    belief = snapshot_belief(policy.model.observation, seen)
    assert policy.believe(seen) == belief
    assert max(belief) - belief.recoverable >= RELEASED_GATE
    low = Observation((0.9, 0.2), (10, 10), (Action.CONTINUE,))
    gated = replace(policy, gate=RELEASED_GATE)
    assert (policy.act(low), gated.act(low)) == (Action.REGENERATE, Action.REGENERATE)
    always = replace(policy, gate=-1.0)
    assert always.act(low) is Action.CONTINUE


def test_it_survives_the_disk(tmp_path: Path) -> None:
    repair = scores_in((0.2, 0.8), (0.7, 0.3), (0.7, 0.3))
    model = replace(small((0.3, 1.0), 0.8), agreement=(0.8, 0.1, 0.7), repair_observation=repair)
    model = replace(
        model, resample_observation=repair, resample_model=replace(AGAIN, after_differing=AGAIN), revise_model=AGAIN
    )
    policy = replace(POLICY, belief="snapshot", gate=0.4, model=model, cost_model=CostModel(1.0, 2.0))
    policy.save(tmp_path, PROVENANCE)
    loaded = PomdpPolicy.load(tmp_path, models=PROVENANCE.models)
    assert replace(loaded, model=policy.model) == policy
    assert loaded.model.repair_observation is not None
    assert np.array_equal(loaded.model.repair_observation.mass, repair.mass)
    same = {"observation": policy.model.observation, "repair_observation": repair, "resample_observation": repair}
    assert replace(loaded.model, **same) == policy.model  # type: ignore[arg-type]
    assert np.array_equal(loaded.model.observation.mass, policy.model.observation.mass)
    assert np.array_equal(loaded.solution.curves, policy.solution.curves)
    with pytest.raises(ConfigError, match="made for"):
        PomdpPolicy.load(tmp_path, models=Models("w", "s", "another"))
    header = json.loads((tmp_path / "policy.json").read_text())
    del header["settings"]["step_tokens"]
    (tmp_path / "policy.json").write_text(json.dumps(header))
    with pytest.raises(ConfigError, match="step_tokens"):
        PomdpPolicy.load(tmp_path)


@pytest.mark.parametrize(
    "change", [{"price": -1.0}, {"price": float("nan")}, {"belief": "guess"}, {"resamples": 1}, {"max_revisions": 1}]
)
def test_wrong_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="pomdp"):
        replace(POLICY, **change)  # type: ignore[arg-type]


def test_in_the_router_a_lower_price_buys_more_right_answers() -> None:
    """Simulated models; the PRM's scores lie on the right side of 0.5 nine times in ten."""
    weak, strong = SimulatedModel(Role.WEAK, 0.8), SimulatedModel(Role.STRONG, 0.97)
    hazard = tuple(1 / (10 - t) for t in range(1, 10))  # lengths are uniform on 1 to 10
    model = PomdpModel(0.8, 0.97, hazard, scores_in((0.1, 0.9), (0.9, 0.1), (0.9, 0.1)), 40)

    async def traces(price: float) -> list[Trace]:
        router = Router(weak, strong, SimulatedPrm(0.9), PomdpPolicy(model, price))
        return [await router.route(Question(f"question {i}")) for i in range(150)]

    right, tokens = [], []
    for price in (0.01, 0.001, 0.0):
        done = asyncio.run(traces(price))
        right.append(sum("right" in trace.text for trace in done))
        tokens.append(sum(trace.usage[Role.STRONG].completion_tokens for trace in done))
    assert right[0] + 20 < right[1] < right[2] + 10
    assert tokens[0] < tokens[1] < tokens[2]


def test_the_router_shows_the_scores_that_it_decided_on() -> None:
    seen: list[Observation] = []

    class Watching(PomdpPolicy):
        def act(self, observation: Observation) -> Action:
            seen.append(observation)
            return super().act(observation)

    weak, strong = SimulatedModel(Role.WEAK, 0.6), SimulatedModel(Role.STRONG, 1.0)
    router = Router(weak, strong, SimulatedPrm(0.9), Watching(small(), 0.001))
    trace = asyncio.run(router.route(Question("long question 7")))
    assert Action.REGENERATE in seen[-1].actions
    assert seen[-1].draft_scores == tuple((decision.score,) for decision in trace.decisions)
    changed = [i for i, action in enumerate(seen[-1].actions) if action is Action.REGENERATE]
    assert all(seen[-1].draft_scores[i][0] != seen[-1].scores[i] for i in changed)


SETTINGS_OF_0_1 = {
    "resamples": "retries",
    "max_revisions": "redos",
    "cost_per_draft": "draft_tokens",
    "cost_per_strong_step": "rewrite_tokens",
}
ARRAYS_OF_0_1 = {
    "resample_model": "retries",
    "resample_model_after_identical": "retries_steady",
    "resample_model_after_differing": "retries_mixed",
    "revise_model": "redo",
    "revise_model_after_differing": "redo_mixed",
    "resample_score_edges": "retry_score_edges",
    "resample_mass": "retry_mass",
}


def test_policies_saved_by_version_0_1_load(tmp_path: Path) -> None:
    later = replace(AGAIN, after_identical=AGAIN, after_differing=ResampleModel((0.1, 0.2, 0.3), 0.4, 0.5))
    revise = replace(AGAIN, after_differing=AGAIN)
    model = replace(small(), resample_model=later, revise_model=revise, resample_observation=small().observation)
    policy = replace(POLICY, model=model, resamples=2, max_revisions=1, cost_model=CostModel(1.0, 2.0))
    policy.save(tmp_path, PROVENANCE)
    header = json.loads((tmp_path / "policy.json").read_text())
    header["settings"] = {SETTINGS_OF_0_1.get(name, name): value for name, value in header["settings"].items()}
    (tmp_path / "policy.json").write_text(json.dumps(header))
    with np.load(tmp_path / "arrays.npz") as file:
        arrays = {ARRAYS_OF_0_1.get(name, name): file[name] for name in file.files}
    assert set(ARRAYS_OF_0_1.values()) <= set(arrays)
    np.savez(tmp_path / "arrays.npz", **arrays)
    loaded = PomdpPolicy.load(tmp_path)
    assert (loaded.model.resample_model, loaded.model.revise_model) == (later, revise)
    assert loaded.model.resample_observation is not None
    assert replace(loaded, model=policy.model) == policy
