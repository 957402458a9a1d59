"""Two policies at the same strong share: which one answers more of the same questions?"""

from __future__ import annotations

from collections.abc import Sequence

from trim.metrics.curves import at_share, by_share
from trim.metrics.question_bootstrap import DRAWS, resampled_means
from trim.metrics.tally import Tally
from trim.stats import Estimate, FloatArray, from_resamples


def matched_difference(
    first: Sequence[Tally], second: Sequence[Tally], share: float, *, weak: Tally, strong: Tally, draws: int = DRAWS
) -> Estimate:
    """Accuracy of `first` less that of `second`, both spending the same strong share, with a paired 95% interval.

    A policy rarely has an operating point at just this share. Between two neighbouring points, sorted by share, it can
    toss a coin for each question; the coin's weight is the one that spends the share on average, and each question's
    result is weighted by it. The two ends of the scale are points of every policy. Each resample of the questions
    finds its own shares and weights, so the interval covers that too.

    Args:
        first: all operating points of a policy.
        second: all operating points of the other one.
        share: strong tokens as a share of those of the strong model alone, in [0, 1].
        weak: always-weak on the same questions.
        strong: always-strong on them.
        draws: bootstrap resamples.

    Raises:
        ValueError: a policy without points, no question that all points answered, or a share outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a strong share lies in [0, 1], not {share}")
    if not first or not second:
        raise ValueError("each policy needs at least one operating point")
    means = resampled_means([weak, strong, *first, *second], draws)
    shares = means.strong_tokens / means.strong_tokens[:, 1:2]
    columns = range(2, shares.shape[1])

    def accuracy(chosen: Sequence[int]) -> FloatArray:
        points = [0, 1, *chosen]
        return at_share(by_share(shares[:, points], means.right[:, points]), share)

    difference = accuracy(columns[: len(first)]) - accuracy(columns[len(first) :])
    return from_resamples(difference[0], difference[1:], means.questions)
