"""Experiment trackers: what is logged, and what happens without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="needs the train extra")

from trim.errors import ConfigError  # noqa: E402
from trim.training import trackers  # noqa: E402
from trim.training.ppo import Losses, UpdateMetrics, Validation  # noqa: E402

VALIDATION = Validation(0.4, [1e-4, 1e-2], [0.8, 0.5], [100.0, 0.0], [0.7, 0.5])
ROW = UpdateMetrics(3, 96, 0.5, 0.6, 42.0, Losses(0.1, 0.2, 0.3, 0.01, 0.05), 1.5, VALIDATION)


def test_metrics_have_flat_names() -> None:
    found = trackers.flatten(ROW)
    assert found["reward"] == 0.5
    assert found["loss/policy_loss"] == 0.1
    assert found["loss/clip_fraction"] == 0.05
    assert found["validation/value"] == 0.4
    assert found["validation/accuracy/0.01"] == 0.5
    assert found["validation/strong_tokens/0.0001"] == 100.0


def test_a_tracker_gets_every_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[Mapping[str, float], int]] = []

    @contextmanager
    def opened(folder: Path, settings: Mapping[str, Any]) -> Iterator[trackers.Log]:
        assert (folder, settings) == (tmp_path, {"seed": 1})
        yield lambda metrics, update: logged.append((metrics, update))

    monkeypatch.setitem(trackers.TRACKERS, "json", opened)  # a name that can be imported
    with trackers.tracked("json", tmp_path, {"seed": 1}) as log:
        log(ROW)
    assert logged == [(trackers.flatten(ROW), 3)]
    with trackers.tracked(None, tmp_path, {}) as log:
        log(ROW)
    assert len(logged) == 1


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install wandb"), trackers.tracked("wandb", tmp_path, {}):
        pass
