"""TRIM-Agg and TRIM-Seq: a small network that was trained by `trim train`, one for every price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trim.errors import ConfigError
from trim.policies.artifacts import Artifact, Models, Provenance, Setting, number, readable
from trim.policies.learned.features import Aggregate, PriceRange, Stepwise, Vector
from trim.policies.learned.networks import AggNetwork, Arrays, SeqNetwork
from trim.policies.spec import PolicySpec
from trim.protocols import Policy
from trim.types import Action, Observation

Kind = Literal["agg", "seq"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PAPER_ACTIONS = (Action.CONTINUE, Action.REGENERATE)

_SWEEP = 11
_ANY = Observation((0.5, 0.5), (20, 20), (Action.CONTINUE,), draft_scores=((0.5,), (0.5,)))


@dataclass(frozen=True)
class LearnedPolicy:
    """The action with the largest logit.

    Args:
        name: `agg` reads one vector an observation, `seq` one a step.
        features: what the network reads.
        arrays: its parameters, by name.
        trained: the prices that it knows.
        price: lambda, the price of one strong token in correct answers.
        actions: what its outputs stand for, in order.
        heads: attention heads of `seq`.
        training: how it came about (episodes, seconds, seed, ...), for the artifact.

    Raises:
        ConfigError: a price outside `trained`, or arrays that don't go with features and actions.
    """

    name: Kind
    features: Aggregate | Stepwise
    arrays: Arrays = field(repr=False)
    trained: PriceRange
    price: float
    actions: tuple[Action, ...] = PAPER_ACTIONS
    heads: int = 2
    training: Mapping[str, Setting] = field(default_factory=dict, repr=False)
    uses_drafts: bool = True
    uses_scores: bool = True
    max_revisions: int = 0

    def __post_init__(self) -> None:
        try:
            self._scaled_price  # noqa: B018  # checked here rather than at the first decision
        except ConfigError as error:
            raise ConfigError(f"policy {self.name}: {error}") from None
        found, outputs = self.network.width, len(self.network.logits.bias)
        if (found, outputs) != (self.features.width, len(self.actions)):
            raise ConfigError(
                f"policy {self.name}: a network for {found} features and {outputs} actions does not go with "
                f"{self.features.width} and {len(self.actions)}"
            )

    @property
    def parameter(self) -> float:
        """The price of a strong token, in correct answers."""
        return self.price

    @cached_property
    def network(self) -> AggNetwork | SeqNetwork:
        """The network that `arrays` describe, made once."""
        return AggNetwork.of(self.arrays) if self.name == "agg" else SeqNetwork.of(self.arrays, heads=self.heads)

    @cached_property
    def _scaled_price(self) -> float:
        return self.trained.scaled(self.price)

    prepare = Policy.prepare  # nothing: the network is ready when the policy is made

    def at(self, parameter: float) -> LearnedPolicy:
        return replace(self, price=parameter)

    def at_effort(self, effort: float, scores: Sequence[float]) -> LearnedPolicy:
        """The price falls from the high to the low end of the trained range, on a logarithmic scale."""
        return self.at(self.trained.at(1.0 - effort))

    def prices(self) -> tuple[float, ...]:
        """Prices that an evaluation tries: eleven over the trained range, high to low."""
        return self.trained.grid(_SWEEP)[::-1]

    def read(self, observation: Observation) -> Vector:
        """The features, the price among them."""
        return self.features.read(observation, self._scaled_price)

    def act(self, observation: Observation) -> Action:
        """The action with the largest logit."""
        return self.actions[int(self.network(self.read(observation)).argmax())]

    def save(self, folder: Path, provenance: Provenance) -> None:
        """Write the policy and where it comes from; see `trim.policies.artifacts`."""
        settings: dict[str, Setting] = {
            "features": ",".join(self.features.names),
            "actions": ",".join(self.actions),
            "price_low": self.trained.low,
            "price_high": self.trained.high,
            "price": self.price,
            "heads": self.heads,
        }
        settings |= {f"training_{name}": value for name, value in self.training.items()}
        arrays: dict[str, NDArray[Any]] = {
            name: np.asarray(value, np.float32)
            for name, value in self.arrays.items()
            if name.split(".")[0] in ("encoder", "embed", "blocks", "actor")
        }
        Artifact(self.name, settings, arrays, provenance).save(folder)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        kind: Kind,
        models: Models | None = None,
        on_mismatch: Literal["raise", "warn"] = "raise",
    ) -> LearnedPolicy:
        """Read what `save` wrote.

        Raises:
            ConfigError: unreadable, of another kind, or made for other models (a warning with `on_mismatch="warn"`).
        """
        artifact = Artifact.load(folder, kind=kind, models=models, on_mismatch=on_mismatch)
        settings = dict(artifact.settings)
        training = {
            name.removeprefix("training_"): value for name, value in settings.items() if name.startswith("training_")
        }
        with readable(folder, f"{kind} policy"):
            names = tuple(str(settings["features"]).split(","))
            made = cls(
                kind,
                Aggregate(names) if kind == "agg" else Stepwise(names),
                artifact.arrays,
                PriceRange(number(settings, "price_low"), number(settings, "price_high")),
                number(settings, "price"),
                tuple(Action(name) for name in str(settings["actions"]).split(",")),
                int(number(settings, "heads")),
                training,
            )
            made.act(_ANY)  # arrays whose shapes don't fit each other show now, not at the first decision
        return made


def open_saved(folder: Path, spec: PolicySpec, models: Models | None) -> LearnedPolicy:
    """The policy of a folder."""
    kind: Kind = "agg" if spec.family == "agg" else "seq"
    return LearnedPolicy.load(folder, kind=kind, models=models)
