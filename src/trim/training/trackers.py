"""Experiment trackers that a training's metrics go to besides metrics.jsonl: TensorBoard, Weights & Biases, MLflow.

Each is a context manager that opens a run and yields a function that logs to it; another tracker is one more of them.
Their own environment variables say where runs go (WANDB_MODE, MLFLOW_TRACKING_URI, ...).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trim.errors import ConfigError

if TYPE_CHECKING:
    from trim.training.ppo import UpdateMetrics

Log = Callable[[Mapping[str, float], int], None]
"""Logs metrics by name, with the number of the update."""


@contextmanager
def _tensorboard(folder: Path, settings: Mapping[str, Any]) -> Iterator[Log]:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:
        writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in settings.items()))

        def log(metrics: Mapping[str, float], update: int) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, update)

        yield log


@contextmanager
def _wandb(folder: Path, settings: Mapping[str, Any]) -> Iterator[Log]:
    import wandb

    with wandb.init(project="trim", name=folder.name, dir=folder, config=dict(settings)) as run:
        yield lambda metrics, update: run.log(dict(metrics), step=update)


@contextmanager
def _mlflow(folder: Path, settings: Mapping[str, Any]) -> Iterator[Log]:
    import mlflow

    mlflow.set_experiment("trim")
    with mlflow.start_run(run_name=folder.name):
        mlflow.log_params(dict(settings))

        def log(metrics: Mapping[str, float], update: int) -> None:
            mlflow.log_metrics(dict(metrics), step=update)

        yield log


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], AbstractContextManager[Log]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}


def require_tracker(name: str | None) -> None:
    """Say before anything is paid for that a tracker is missing.

    Raises:
        ConfigError: its package is not installed.
    """
    if name is not None and find_spec(name) is None:
        raise ConfigError(f"--track {name} needs its package: pip install {name}")


@contextmanager
def tracked(name: str | None, folder: Path, settings: Mapping[str, Any]) -> Iterator[Callable[[UpdateMetrics], None]]:
    """What logs an update to a tracker, or to none.

    Args:
        name: one of `TRACKERS`, or None.
        folder: of the training; its name is the run's.
        settings: of the training.

    Raises:
        ConfigError: the tracker's package is not installed.
    """
    require_tracker(name)
    if name is None:
        yield lambda row: None
        return
    with TRACKERS[name](folder, settings) as log:
        yield lambda row: log(flatten(row), row.update)


def flatten(row: UpdateMetrics) -> dict[str, float]:
    """An update's metrics by name; those of the validation where there was one."""
    found = {"reward": row.reward, "accuracy": row.accuracy, "strong_tokens": row.strong_tokens}
    found |= {f"loss/{name}": value for name, value in asdict(row.losses).items()}
    if row.validation is not None:
        found["validation/value"] = row.validation.value
        for price, accuracy, tokens in zip(
            row.validation.prices, row.validation.accuracy, row.validation.strong_tokens, strict=True
        ):
            found |= {f"validation/accuracy/{price:.2g}": accuracy, f"validation/strong_tokens/{price:.2g}": tokens}
    return found
