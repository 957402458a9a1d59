"""Query-level routers that are trained on recorded outcomes: train, save, load, route."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast
from zlib import crc32

import numpy as np

from trim import plugins
from trim.baselines.query_level.solvers import QueryRouter, WholeSolutions
from trim.baselines.query_level.text_embedding import Embedder, HashedNgrams, open_embedder
from trim.baselines.query_level.training_examples import Example
from trim.errors import ConfigError
from trim.policies.artifacts import Artifact, Models, Provenance, readable
from trim.policies.registry import FAMILIES, folder_of
from trim.policies.spec import PolicySpec
from trim.protocols import Solver
from trim.stats import FloatArray
from trim.types import Question


class Learner(Protocol):
    """Says how much each question needs the strong model; a dataclass whose fields are arrays."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @classmethod
    def fit(cls, rows: Sequence[Example], vectors: FloatArray, embedder: Embedder) -> Learner:
        """Train on recorded outcomes.

        Args:
            rows: the questions with both models' outcomes.
            vectors: the questions embedded, shape (N, D).
            embedder: for those that look at solutions too.

        Raises:
            ConfigError: the rows lack what it needs.
        """
        ...

    def need(self, vectors: FloatArray) -> FloatArray:
        """From vectors of length 1, shape (M, D) to (M,); only the order counts."""
        ...


def _learner(kind: str) -> Callable[..., Learner]:
    """The class behind a name of the table.

    Raises:
        ConfigError: no such router.
    """
    family = FAMILIES.get(kind)
    if family is None or not family.learner:
        known = ", ".join(name for name, family in FAMILIES.items() if family.learner)
        raise ConfigError(f"no router {kind!r}; there are {known}")
    return cast("Callable[..., Learner]", plugins.attribute(family.learner, "router"))


@dataclass(frozen=True, eq=False)
class TrainedRouter:
    """A trained router.

    Args:
        kind: its name in `trim.policies.registry`.
        model: says what needs the strong model.
        embedder: the one that it was trained with.
        needs: of the questions that it was trained on, sorted (N,): they turn a rate into a threshold.
        seen: hashes of those questions.
    """

    kind: str
    model: Learner
    embedder: Embedder
    needs: FloatArray
    seen: frozenset[int]
    _known: dict[str, float] = field(default_factory=dict)

    def need(self, text: str) -> float:
        """Of one question; remembered, as every rate asks again."""
        if text not in self._known:
            self._known[text] = float(self.model.need(self.embedder.embed([text]))[0])
        return self._known[text]

    def threshold(self, rate: float) -> float:
        """The need above which `rate` of the questions that it was trained on lie.

        Raises:
            ConfigError: the rate lies outside [0, 1].
        """
        if not 0.0 <= rate <= 1.0:
            raise ConfigError(f"{self.kind}: the rate must lie in [0, 1], not {rate}")
        if rate in (0.0, 1.0):
            return np.inf if rate == 0.0 else -np.inf
        return float(np.quantile(self.needs, 1.0 - rate))

    def chooses_strong(self, rate: float) -> Callable[[Question, int], bool]:
        """Whether a question is among the share `rate` that needs the strong model most; the seed does not matter.

        Raises:
            ConfigError: the rate lies outside [0, 1].
        """
        threshold = self.threshold(rate)
        return lambda question, seed: self.need(question.text) > threshold

    def refuse_seen(self, questions: Iterable[Question]) -> None:
        """A router must not be judged on questions that it was trained on.

        Raises:
            ConfigError: some of them are.
        """
        known = sum(_mark(question.text) in self.seen for question in questions)
        if known:
            raise ConfigError(f"{self.kind} was trained on {known} of these questions: evaluate with another --seed")

    def save(self, folder: Path, provenance: Provenance) -> None:
        """Write the router and where it comes from; see `trim.policies.artifacts`."""
        arrays = {entry.name: getattr(self.model, entry.name) for entry in fields(self.model)}
        arrays |= {"training_needs": self.needs, "seen": np.array(sorted(self.seen), float)}
        Artifact(self.kind, {"embedder": self.embedder.name}, arrays, provenance).save(folder)

    @classmethod
    def load(cls, kind: str, folder: Path, models: Models | None = None) -> TrainedRouter:
        """Read what `save` wrote.

        Raises:
            ConfigError: unreadable, of another kind, or made for other models.
        """
        artifact = Artifact.load(folder, kind=kind, models=models)
        with readable(folder, "router"):
            learner = _learner(kind)
            model = learner(**{name: artifact.arrays[name] for name in inspect.signature(learner).parameters})
            needs, seen = artifact.arrays["training_needs"], artifact.arrays["seen"]
            embedder = open_embedder(str(artifact.settings["embedder"]))
            made = cls(kind, model, embedder, needs, frozenset(int(mark) for mark in seen))
            made.threshold(0.5)
            if isinstance(embedder, HashedNgrams):
                made.model.need(embedder.embed(["?"]))  # arrays whose shapes don't fit each other show now
        return made


def train(kind: str, rows: Sequence[Example], embedder: Embedder) -> TrainedRouter:
    """Train a router.

    Args:
        kind: its name in `trim.policies.registry`.
        rows: see `trim.baselines.query_level.training_examples.examples`.
        embedder: turns questions into vectors.

    Raises:
        ConfigError: no such kind, or the examples lack what it needs.
    """
    learner = cast("type[Learner]", _learner(kind))
    vectors = embedder.embed([row.question.text for row in rows])
    model = learner.fit(rows, vectors, embedder)
    seen = frozenset(_mark(row.question.text) for row in rows)
    return TrainedRouter(kind, model, embedder, np.sort(model.need(vectors)), seen)


def trained_query(known: WholeSolutions, spec: PolicySpec) -> Callable[[float], Solver]:
    """By the share of questions for the strong model.

    Raises:
        ConfigError: no folder is given, or it was trained on questions of the run.
    """
    trained = TrainedRouter.load(spec.family, folder_of(spec), known.models())
    trained.refuse_seen(known.questions())
    return lambda rate: QueryRouter(known.weak, known.strong, trained.chooses_strong(rate))


def _mark(text: str) -> int:
    return crc32(text.encode("utf-8", "replace"))
