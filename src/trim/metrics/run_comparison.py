"""Two runs over the same questions: which differences are significant?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt

from trim.metrics.curve_summary import ENDS
from trim.metrics.matched_share import matched_difference
from trim.metrics.operating_point import point_name
from trim.metrics.question_bootstrap import resampled_means
from trim.metrics.tally import Tally
from trim.stats import NORMAL_975, Estimate, from_resamples

Tallies = Mapping[tuple[str, float | None], Tally]

SHARES = (0.1, 0.2, 0.3)
_LEVEL = 0.05


@dataclass(frozen=True)
class Compared:
    """A figure of the first run less that of the second, over the questions that both answered.

    `significant` is at the 5% level over ALL comparisons together (Holm's correction).
    """

    name: str
    difference: Estimate
    significant: bool

    def to_json(self) -> dict[str, object]:
        """As `trim report --json` prints it."""
        difference = {"mean": self.difference.value, "low": self.difference.low, "high": self.difference.high}
        questions = self.difference.count
        return {"name": self.name, "questions": questions, "difference": difference, "significant": self.significant}


def compare_runs(first: Tallies, second: Tallies) -> list[Compared]:
    """Accuracy at every operating point that both runs have, and of every policy at equal strong shares.

    Raises:
        ValueError: the runs have no operating point with a common question.
    """
    named: list[tuple[str, Estimate]] = []
    for key in [key for key in first if key in second]:
        if set(first[key].questions) & set(second[key].questions):
            named.append((point_name(*key), paired_difference(first[key], second[key])))
    if not named:
        raise ValueError("the runs have no operating point in common that answered the same questions")
    if all(end in tallies for tallies in (first, second) for end in ENDS):
        named += _at_shares(first, second)
    significant = _holm([_p_value(difference) for _, difference in named])
    return [Compared(*row, significant=flag) for row, flag in zip(named, significant, strict=True)]


def paired_difference(first: Tally, second: Tally) -> Estimate:
    """The accuracy of `first` less that of `second` on the questions that both answered, which `count` counts.

    Raises:
        ValueError: there is none.
    """
    means = resampled_means([first, second])
    difference = means.right[:, 0] - means.right[:, 1]
    return from_resamples(difference[0], difference[1:], means.questions)


def _at_shares(first: Tallies, second: Tallies) -> list[tuple[str, Estimate]]:
    """Policies at equal share of the FIRST run's strong tokens, so that both may spend the same."""
    weak, strong = (first[end] for end in ENDS)
    found = []
    for policy in dict.fromkeys(policy for policy, parameter in first if parameter is not None):
        here, there = ([tally for (name, _), tally in run.items() if name == policy] for run in (first, second))
        if there:
            found += [
                (f"{policy} at {share:.0%}", matched_difference(here, there, share, weak=weak, strong=strong))
                for share in SHARES
            ]
    return found


def _p_value(difference: Estimate) -> float:
    """Two-sided p-value of a difference (normal, its standard error from the interval)."""
    spread = (difference.high - difference.low) / (2 * NORMAL_975)
    if spread <= 0:
        return 1.0 if difference.value == 0 else 0.0
    return erfc(abs(difference.value) / spread / sqrt(2))


def _holm(p_values: Sequence[float]) -> list[bool]:
    """Which of several differences stay significant at the 5% level after Holm's correction."""
    significant = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > _LEVEL / (len(p_values) - rank):
            break
        significant[index] = True
    return significant
