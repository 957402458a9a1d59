"""TRIM-POMDP: routing as planning under uncertainty, solved exactly (docs/explanation/pomdp.md)."""

from __future__ import annotations

from trim.pomdp.belief import Belief, filter_belief, snapshot_belief
from trim.pomdp.cost_model import CostModel, measure_cost_model
from trim.pomdp.model import PomdpModel, ResampleModel
from trim.pomdp.observation import STATES, ObservationBins, quantile_bins, read_points, reflected_kde
from trim.pomdp.pomdpx import to_pomdpx
from trim.pomdp.solver import PomdpSolution, solve

__all__ = [
    "STATES",
    "Belief",
    "CostModel",
    "ObservationBins",
    "PomdpModel",
    "PomdpSolution",
    "ResampleModel",
    "filter_belief",
    "measure_cost_model",
    "quantile_bins",
    "read_points",
    "reflected_kde",
    "snapshot_belief",
    "solve",
    "to_pomdpx",
]
