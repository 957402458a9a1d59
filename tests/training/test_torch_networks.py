"""The networks in torch: shapes, padding, and the same numbers as without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="needs the train extra")

from trim.policies.learned.policy import KINDS, Kind  # noqa: E402
from trim.training.torch_networks import network  # noqa: E402


@pytest.mark.parametrize("actions", [2, 4])
def test_logits_and_values_have_one_row_an_observation(actions: int) -> None:
    rng = np.random.default_rng(0)
    vectors = [rng.random(7, np.float32) for _ in range(5)]
    output = network("agg", 7, actions)(vectors)
    assert output.logits.shape == (5, actions)
    assert output.values.shape == (5,)


def test_padding_changes_nothing() -> None:
    """A short solution in a batch with a long one has the output that it has alone."""
    rng = np.random.default_rng(1)
    short, long = rng.random((2, 5), np.float32), rng.random((9, 5), np.float32)
    model = network("seq", 5, 3)
    with torch.no_grad():
        together, alone = model([short, long]), model([short])
    assert together.logits[0].numpy() == pytest.approx(alone.logits[0].numpy(), abs=1e-6)
    assert float(together.values[0]) == pytest.approx(float(alone.values[0]), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_network_depends_on_the_seed_and_prefers_no_action(kind: Kind) -> None:
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(network(kind, 5, 3))
    first, again, other = (torch.cat([p.flatten() for p in model.parameters()]) for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    rng = np.random.default_rng(2)
    features = [rng.random(5 if kind == "agg" else (3, 5), np.float32) for _ in range(20)]
    with torch.no_grad():
        probabilities = models[0](features).logits.softmax(-1)
    assert probabilities.numpy() == pytest.approx(1 / 3, abs=0.02)
