"""Training on the simulator: the parts, exact resume, and that it learns."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch", reason="needs the train extra")

from tests.policies.learned.test_policy import observations  # noqa: E402
from trim.errors import ConfigError  # noqa: E402
from trim.policies import AlwaysWeak  # noqa: E402
from trim.policies.artifacts import Models, Provenance  # noqa: E402
from trim.policies.learned.features import PriceRange  # noqa: E402
from trim.policies.learned.policy import KINDS, Kind, LearnedPolicy  # noqa: E402
from trim.training.ppo import Learner, PpoSettings, UpdateMetrics, advantages, collect, train, validate  # noqa: E402
from trim.training.simulated_source import price_range, simulated, textbook  # noqa: E402
from trim.training.torch_networks import network  # noqa: E402
from trim.types import Action  # noqa: E402

PRICES = price_range(60)
PROVENANCE = Provenance(Models("a", "b", "c"), "simulated", "2026-11-25", 100)
SOURCE = simulated(textbook(), (Action.CONTINUE, Action.REGENERATE), questions=2_000, validation=20, seed=0)


def settings(kind: Kind, **changes: Any) -> PpoSettings:
    small = {
        "total_episodes": 60,
        "episodes_per_update": 10,
        "minibatch_size": 32,
        "validations": 3,
        "validation_prices": 3,
    }
    return PpoSettings(kind, PRICES, **{**small, **changes})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("actions", [2, 3])
def test_numpy_decides_as_torch_does(kind: Kind, actions: int) -> None:
    chosen = settings(kind, actions=tuple(Action)[:actions])
    learner = Learner.fresh(chosen)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        policy = learner.policy(chosen)
        features = [policy.read(seen) for seen in observations(300)]
        wanted = learner.model(features).logits.numpy()
    found = np.stack([policy.network(vector) for vector in features])
    assert np.abs(wanted).max() > 0.1
    assert np.abs(found - wanted).max() < 1e-5 * max(1.0, float(np.abs(wanted).max()))


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=8), st.floats(0, 1))
def test_advantages_are_the_sum_of_discounted_errors(steps: list[tuple[float, float]], gae_lambda: float) -> None:
    rewards, values = zip(*steps, strict=True)
    errors = [r + v2 - v1 for r, v1, v2 in zip(rewards, values, (*values[1:], 0.0), strict=True)]
    wanted = [sum(gae_lambda**k * error for k, error in enumerate(errors[i:])) for i in range(len(errors))]
    assert advantages(rewards, values, gae_lambda) == pytest.approx(wanted)


def test_prices_cover_the_range() -> None:
    chosen = settings("agg", episodes_per_update=50, total_episodes=5_000)
    learner = Learner.fresh(chosen)
    episodes = asyncio.run(collect(SOURCE, learner.policy(chosen), chosen, 0))
    scaled = np.sort([PRICES.scaled(episode.price) for episode in episodes])
    assert np.diff(scaled).max() < 2 * 2.4 / 50
    assert (scaled[2], scaled[-3]) == pytest.approx((-1, 1))
    assert len({round(price, 9) for price in scaled}) > 40


def rows(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


class Killed(Exception):
    pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [1, 5])
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, kind: Kind, at: int) -> None:
    def kill(row: UpdateMetrics) -> None:
        if row.update == at:
            raise Killed

    chosen = settings(kind)
    folders = [tmp_path / name for name in ("whole", "broken")]
    for folder in folders:
        folder.mkdir()
    whole = asyncio.run(train(SOURCE, chosen, folders[0], PROVENANCE))
    with pytest.raises(Killed):
        asyncio.run(train(SOURCE, chosen, folders[1], PROVENANCE, report=kill))
    resumed = asyncio.run(train(SOURCE, chosen, folders[1], PROVENANCE))
    assert rows(folders[0]) == rows(folders[1])
    assert len(rows(folders[0])) == 6
    assert {name: array.tolist() for name, array in whole.arrays.items()} == {
        name: array.tolist() for name, array in resumed.arrays.items()
    }
    with np.load(folders[0] / "checkpoint.npz") as one, np.load(folders[1] / "checkpoint.npz") as two:
        assert set(one.files) == set(two.files)
        assert all(np.array_equal(one[name], two[name]) for name in one.files if name != "progress")


def test_it_learns(tmp_path: Path) -> None:
    """A short training beats never asking the strong model, at the prices where that is worth something."""
    prices = PriceRange(1e-4, 1e-3)
    chosen = PpoSettings(
        "agg", prices, total_episodes=2_048, episodes_per_update=128, minibatch_size=256, validations=1
    )
    policy = asyncio.run(train(SOURCE, chosen, tmp_path, PROVENANCE))
    grid = prices.grid(3)
    learned = asyncio.run(validate(SOURCE, [policy.at(price) for price in grid], grid, 0.0))
    weak = asyncio.run(validate(SOURCE, [AlwaysWeak()] * 3, grid, 0.0))
    assert learned.value > weak.value + 0.15
    assert learned.strong_tokens[0] > learned.strong_tokens[-1]


def test_the_saved_policy_says_how_it_came_about(tmp_path: Path) -> None:
    asyncio.run(train(SOURCE, settings("agg"), tmp_path, PROVENANCE))
    loaded = LearnedPolicy.load(tmp_path, kind="agg")
    best = max((row for row in rows(tmp_path) if row["validation"]), key=lambda row: row["validation"]["value"])
    assert loaded.training["episodes"] == best["episodes"]
    assert loaded.training["seed"] == 0
    assert loaded.training["algorithm"] == "ppo"


def test_a_training_starts_from_anothers_network(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    asyncio.run(train(SOURCE, settings("agg"), first, PROVENANCE))
    frozen = settings("agg", learning_rate=0.0)
    asyncio.run(train(SOURCE, frozen, second, PROVENANCE, start=first / "checkpoint.npz"))
    with np.load(first / "checkpoint.npz") as one, np.load(second / "checkpoint.npz") as two:
        assert all(np.array_equal(one[name], two[name]) for name in one.files if name.startswith("model."))
    with pytest.raises(ConfigError, match="not a checkpoint of this network"):
        asyncio.run(train(SOURCE, settings("seq"), tmp_path, PROVENANCE, start=first / "checkpoint.npz"))
    with pytest.raises(ConfigError, match="not a checkpoint"):
        asyncio.run(train(SOURCE, settings("agg"), tmp_path, PROVENANCE, start=first / "metrics.jsonl"))


def test_settings_can_be_written_down() -> None:
    assert json.loads(json.dumps(asdict(settings("agg"))))["prices"] == {"low": PRICES.low, "high": PRICES.high}
    assert network("agg", 7, 2)([np.zeros(7, np.float32)]).values.shape == (1,)
