"""A simulated pair and judge that behave as a POMDP model says."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trim.pomdp import PomdpModel
from trim.simulation.generators import SimulatedModel
from trim.simulation.prm import SimulatedPrm
from trim.types import Role


@dataclass(frozen=True)
class World:
    """A pair and its judge."""

    weak: SimulatedModel
    strong: SimulatedModel
    prm: SimulatedPrm

    @classmethod
    def of(
        cls, model: PomdpModel, ends: tuple[float, ...] | None = None, *, spread: float = 0.0, difficulty: float = 0.0
    ) -> World:
        """The pair that a model describes.

        Args:
            model: step accuracies, repair, scores.
            ends: P(last step | it is reached) by step; None: the model's hazard and never a single step, of which the
                hazard does not speak.
            spread: of a step's tokens, relative. With 0, the model is the whole truth.
            difficulty: variance of questions' hardness. With 0, the model is the whole truth.
        """
        ends = ends or (0.0, *model.hazard)
        weak_steps: float | tuple[float, ...] = model.weak_accuracy
        strong_steps: float | tuple[float, ...] = model.strong_accuracy
        if model.final_accuracy is not None:  # simulated steps don't know that they are the last: mean by position
            weak_steps = tuple(end * model.final_accuracy + (1 - end) * model.weak_accuracy for end in ends)
            strong_steps = tuple(
                right * model.strong_accuracy_if_correct + (1 - right) * model.strong_accuracy_if_wrong
                for right in weak_steps
            )
        weak = SimulatedModel(
            Role.WEAK,
            weak_steps,
            ends,
            model.step_tokens,
            spread=spread,
            difficulty=difficulty,
        )
        errors, slips = 1 - model.strong_accuracy, 1 - model.weak_accuracy
        together = min(1.0, errors / slips) if slips else errors
        coupling = (1 - model.strong_accuracy_if_wrong - errors) / (together - errors) if together > errors else 0.0
        strong = replace(
            weak,
            role=Role.STRONG,
            accuracy=strong_steps,
            difficulty=0.0,
            drafter=weak,
            coupling=min(max(coupling, 0.0), 1.0),
        )
        return cls(weak, strong, SimulatedPrm(step_tokens=round(model.step_tokens), scores=model.observation))
