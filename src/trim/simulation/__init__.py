"""Simulated models and PRM with a known error process, for tests, benchmarks and planning.

They take part in the Router like real ones (docs/explanation/simulator.md). Everything is drawn from (seed, question,
step, attempt) alone: an open stream and one opened again write the same text, and a rescored prefix keeps its scores.
"""

from __future__ import annotations

from trim.simulation.generators import SimulatedModel, constant_accuracy, even_lengths, gamma_lengths, is_right
from trim.simulation.prm import SimulatedPrm, graded, stricter

__all__ = [
    "SimulatedModel",
    "SimulatedPrm",
    "constant_accuracy",
    "even_lengths",
    "gamma_lengths",
    "graded",
    "is_right",
    "stricter",
]
