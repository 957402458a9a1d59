"""Two runs over the same questions: which differences are outside noise?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from trim.metrics.curve_summary import ENDS
from trim.metrics.matched_share import matched_difference
from trim.metrics.operating_point import Difference, Tally, point_name
from trim.metrics.outcomes import Outcomes

Tallies = Mapping[tuple[str, float | None], Tally]

SHARES = (0.1, 0.2, 0.3)
_LEVEL = 0.05


@dataclass(frozen=True)
class Compared:
    """A figure of the first run less that of the second, over the questions that both answered.

    `outside`: the difference is no noise, at the 5% level over ALL comparisons together (Holm).
    """

    name: str
    questions: int
    difference: Difference
    outside: bool


def compare_runs(first: Tallies, second: Tallies) -> list[Compared]:
    """Accuracy at every operating point that both runs have, and of every policy at equal strong shares.

    Raises:
        ValueError: the runs have no operating point with a common question.
    """
    named: list[tuple[str, int, Difference]] = []
    for key in [key for key in first if key in second]:
        if set(first[key].questions) & set(second[key].questions):
            named.append((point_name(*key), *paired_difference(first[key], second[key])))
    if not named:
        raise ValueError("the runs have no operating point in common that answered the same questions")
    if all(end in tallies for tallies in (first, second) for end in ENDS):
        named += _at_shares(first, second)
    outside = _holm([_chance(difference) for _, _, difference in named])
    return [Compared(*row, outside=sure) for row, sure in zip(named, outside, strict=True)]


def paired_difference(first: Tally, second: Tally) -> tuple[int, Difference]:
    """Questions that both answered, and the accuracy of `first` less that of `second` on them.

    Raises:
        ValueError: there is none.
    """
    outcomes = Outcomes.of([first, second])
    right = outcomes.means().right
    difference = right[:, 0] - right[:, 1]
    low, high = np.percentile(difference[1:], (2.5, 97.5))
    return len(outcomes.questions), Difference(float(difference[0]), float(low), float(high))


def _at_shares(first: Tallies, second: Tallies) -> list[tuple[str, int, Difference]]:
    """Policies at equal share of the FIRST run's strong tokens, so that both may spend the same."""
    weak, strong = (first[end] for end in ENDS)
    found = []
    for policy in dict.fromkeys(policy for policy, parameter in first if parameter is not None):
        here, there = ([tally for (name, _), tally in run.items() if name == policy] for run in (first, second))
        if there:
            common = len(Outcomes.of([weak, strong, *here, *there]).questions)
            found += [
                (f"{policy} at {share:.0%}", common, matched_difference(here, there, share, weak=weak, strong=strong))
                for share in SHARES
            ]
    return found


def _chance(difference: Difference) -> float:
    """Two-sided probability of a difference as large as this one under noise alone (normal, from the interval)."""
    spread = (difference.high - difference.low) / (2 * 1.959963984540054)
    if spread <= 0:
        return 1.0 if difference.mean == 0 else 0.0
    return erfc(abs(difference.mean) / spread / sqrt(2))


def _holm(chances: Sequence[float]) -> list[bool]:
    """Which of several differences stay at the 5% level after Holm's correction."""
    outside = [False] * len(chances)
    for rank, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[index] > _LEVEL / (len(chances) - rank):
            break
        outside[index] = True
    return outside
