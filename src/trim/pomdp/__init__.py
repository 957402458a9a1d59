"""TRIM-POMDP: routing as planning under uncertainty, solved exactly in milliseconds (docs/pomdp.md)."""

from __future__ import annotations

from trim.pomdp.belief import Belief, filter_belief, snapshot_belief
from trim.pomdp.bill import Bill
from trim.pomdp.export import to_pomdpx
from trim.pomdp.model import PomdpModel, Retries
from trim.pomdp.observation import STATES, ObservationBins, quantile_bins, read_points, reflected_kde
from trim.pomdp.solve import PomdpSolution, solve

__all__ = [
    "STATES",
    "Belief",
    "Bill",
    "ObservationBins",
    "PomdpModel",
    "PomdpSolution",
    "Retries",
    "filter_belief",
    "quantile_bins",
    "read_points",
    "reflected_kde",
    "snapshot_belief",
    "solve",
    "to_pomdpx",
]
